"""The documents shown in docs/policies.md are real ones."""

from __future__ import annotations

import re
from pathlib import Path

from watchkeeper.core.decisions import Gate, Reason
from watchkeeper.policies.compile import compile_policy
from watchkeeper.policies.conditions.cel import NAMES
from watchkeeper.policies.load import PolicySet, load, parse
from watchkeeper.policies.trials.run import read, run

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_examples_compile() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    documents = [document for block in blocks for document, _ in parse(block, "docs/policies.md")]
    assert [node.name for node in compile_policy(PolicySet(tuple(documents))).nodes] == [
        "grant/chat-fail-over",
        "limit/no-blocking",
        "limit/production-bounds",
    ]


def test_the_example_of_a_test_passes_under_the_example_of_a_policy(tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)):
        (tmp_path / f"{number}.yaml").write_text(block)
    trials = run(compile_policy(load(tmp_path)), read(tmp_path))
    assert [(trial.name, trial.passed, trial.said) for trial in trials if not trial.passed] == []
    assert len(trials) == 3


def test_every_name_of_an_expression_is_listed() -> None:
    table = PAGE.split("| name | type | |", 1)[1].split("There is no clock", 1)[0]
    named = {
        word
        for row in table.splitlines()
        if row.startswith("| `")
        for word in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert named == set(NAMES)


def test_every_gate_and_reason_is_explained() -> None:
    exceeded = {Reason.BLAST_COUNT_EXCEEDED, Reason.BLAST_SHARE_EXCEEDED, Reason.RATE_EXCEEDED}
    words = {gate.value for gate in Gate} - {Gate.LIMIT.value}
    words |= {reason.value for reason in Reason} - {Reason.PASSED.value} - {reason.value for reason in exceeded}
    assert {word for word in words if f"`{word}`" not in PAGE} == set()
