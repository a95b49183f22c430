"""Levels on Prometheus queries and on the incident's service, in runbooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchkeeper.core.errors import RunbookError
from watchkeeper.core.sli import Measure
from watchkeeper.runbooks.lint import LintSeverity
from watchkeeper.runbooks.loader import Linted, load_catalog, parse

TEXT = """
apiVersion: watchkeeper.dev/v1
kind: Runbook
metadata: {name: drain-by-series}
spec:
  trigger: {modes: [provider_outage], subjects: [deployment]}
  actions:
    - intent: shift_traffic
      target: {kind: deployment, select: cause}
      parameters: {weight: {value: 0}}
  verification:
    sli: {measure: "series:checkout_errors", subject: service, op: "<=", threshold: THRESHOLD, window: 60s}
    guards:
      - {measure: served_per_min, subject: model_group, op: ">=", threshold: {value: 1}, window: 60s}
    horizons: [75s]
  breach: {measure: "series:checkout_errors", subject: service, op: "<=", threshold: {value: 0.2}, window: 60s}
  hold: 1m
  release: {steps: [1], watch: 1m}
  undo: captured
  ttl: 1h
"""


def runbook(threshold: str = "{value: 0.2}") -> Linted:
    (found,) = parse(TEXT.replace("THRESHOLD", threshold), "x.yaml")
    return found


def test_a_level_may_name_a_query_or_count_calls() -> None:
    verification = runbook().runbook.spec.verification
    assert verification.sli.series == "checkout_errors"
    assert (verification.guards[0].measure, verification.guards[0].series) == (Measure.SERVED_PER_MIN, "")
    assert [found for _, found in runbook().findings if found.severity is LintSeverity.ERROR] == []


def test_a_series_has_no_baseline() -> None:
    codes = [found.code for _, found in runbook("{from: baseline.success_ratio}").findings]
    assert "series_has_no_baseline" in codes


def test_a_query_that_the_settings_do_not_have_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(TEXT.replace("THRESHOLD", "{value: 0.2}"))
    assert "drain-by-series" in [each.name for each in load_catalog((tmp_path,), series={"checkout_errors"}).runbooks]
    with pytest.raises(RunbookError, match="checkout_errors") as unknown:
        load_catalog((tmp_path,), series={"checkout_error"})
    assert unknown.value.place.startswith(str(tmp_path))
    with pytest.raises(RunbookError):
        parse(TEXT.replace("THRESHOLD", "{value: 1}").replace("series:checkout_errors", "checkout_errors"), "x.yaml")
