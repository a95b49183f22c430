"""The runbook shown in docs/runbooks.md is a real one, and the page names every source, condition and measure."""

from __future__ import annotations

import re
from pathlib import Path

from watchkeeper.core.sli import Measure
from watchkeeper.runbooks.loader import RunbookOverrides, parse
from watchkeeper.runbooks.model import Condition, Source

PAGE = (Path(__file__).parents[2] / "docs" / "runbooks.md").read_text(encoding="utf-8")


def test_the_example_loads_without_a_finding() -> None:
    (block,) = re.findall(r"```yaml\n(apiVersion.*?)```", PAGE, re.DOTALL)
    (linted,) = parse(block, "docs/runbooks.md")
    assert linted.findings == []


def test_every_word_is_explained() -> None:
    words = {source.value for source in Source if source.measure is None}
    words |= {word.value for group in (Condition, Measure) for word in group} | set(RunbookOverrides.model_fields)
    assert {word for word in words if f"`{word}`" not in PAGE} == set()
