"""Runbooks from files: errors with file:line, replacement of shipped ones, and the pace from the settings."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.errors import ConfigError, NotFoundError, RunbookError
from watchkeeper.runbooks.lint import LintSeverity, Offer
from watchkeeper.runbooks.loader import RunbookOverrides, load_catalog, parse, read, read_shipped
from watchkeeper.runbooks.model import Runbook

NAMES = (
    "cap-token-spend",
    "cordon-node",
    "fail-over-provider",
    "give-memory",
    "restart-pod",
    "roll-back-workload",
    "scale-replicas",
    "throttle-runaway-caller",
)
UNDONE = ActionKind.REVERSIBLE


def shipped(name: str) -> str:
    return (resources.files("watchkeeper.runbooks") / "catalog" / f"{name}.yaml").read_text(encoding="utf-8")


def changed(old: str, new: str, name: str = "throttle-runaway-caller") -> str:
    text = shipped(name)
    assert old in text
    return text.replace(old, new, 1)


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def test_the_shipped_runbooks_load_and_lint_finds_nothing() -> None:
    assert tuple(runbook.name for runbook in load_catalog().runbooks) == NAMES
    assert [finding for linted in read_shipped() for finding in linted.findings] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_is_read_back_from_its_canonical_body_and_named_by_it(name: str) -> None:
    runbook = load_catalog().get(name)
    again = Runbook.model_validate_json(runbook.body())
    assert again == runbook
    assert again.ref == runbook.ref
    assert runbook.ref.name == name


def test_another_number_is_another_runbook() -> None:
    (one,), (other,) = parse(shipped("throttle-runaway-caller"), "a"), parse(changed("times: 1.5", "times: 1.4"), "a")
    assert one.runbook.ref != other.runbook.ref
    (same,) = parse("# a comment\n" + changed("hold: 10m", "hold: 600s"), "a")
    assert same.runbook.ref == one.runbook.ref


@pytest.mark.parametrize(
    ("old", "new", "part", "told"),
    [
        ("modes: [runaway_loop]", "modes: [runaway_lop]", "runaway_lop", '(did you mean "runaway_loop"?)'),
        ("intent: throttle", "intent: throtle", "throtle", '(did you mean "throttle"?)'),
        ("from: baseline.calls_per_min", "from: baseline.calls", "baseline.calls,", "did you mean"),
        ("minConfidence", "minConfidense", "minConfidense", '(did you mean "minConfidence"?)'),
        ("times: 1.2", "times: 1.2, value: 3", "value: 3", "give either `value` or `from`"),
        ("{value: 0.95}", "{times: 2}", "{times: 2}", "give either `value` or `from`"),
        ("window: 60s", "window: 60", "window: 60", "write a duration with its unit"),
        ("undo: captured", "undo: guess", "undo: guess", "undo"),
        ("rpm_limit:", "rpm-limit:", "rpm-limit:", "must match the pattern"),
        ("kind: Runbook", "kind: Script", "kind: Script", "'Runbook'"),
    ],
)
def test_what_does_not_read_is_told_with_its_place(tmp_path: Path, old: str, new: str, part: str, told: str) -> None:
    text = changed(old, new)
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RunbookError) as caught:
        load_catalog([tmp_path])
    assert caught.value.place == f"{tmp_path / 'r.yaml'}:{line_of(text, part)}"
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "code", "part"),
    [
        ("horizons: [90s, 3m]", "horizons: [3m, 90s]", "horizons_not_increasing", "horizons"),
        ("steps: [0.5, 1]", "steps: [0.5, 0.9]", "steps", "steps"),
        ("steps: [0.5, 1]", "steps: [0.5, 0.5, 1]", "steps", "steps"),
        ("steps: [0.5, 1]", "steps: [0, 1]", "steps", "steps"),
        ("ttl: 2h", "ttl: 19m", "ttl_too_short", "ttl:"),
        ("min: 1, round", "min: 9, max: 8, round", "min_over_max", "rpm_limit"),
        ("intent: throttle", "when: standby_idle\n      intent: throttle", "condition_without_group", "when"),
        ("select: cause}", "select: standby}", "standby_of_what", "select"),
        ("intent: throttle", "intent: reclaim_space", "irreversible", "reclaim"),
        ("from: baseline.calls_per_min, times: 1.2", "from: cause.weight, times: 1.2", "source_does_not_fit", "rpm"),
        ("times: 1.5, min: 2, round: up}", "times: 1.5, optional: true}", "threshold_needed", "threshold:"),
        ("subject: target\n      op", "subject: model_group\n      op", "no_model_group", "model_group"),
        ('op: "<="', 'op: ">="', "sli_other_way", "op:"),
        ('others\n        op: ">="', 'others\n        op:  "<="', "asks_for_harm", 'op:  "<="'),
        ("measure: served_per_min", "measure: success_ratio", "asks_for_harm", 'op: "<="'),
        ("times: 1.5, min: 2", "times: 1.1, min: 2", "tighter_than_the_limit", "threshold:"),
        ("times: 1.5, min: 2", "times: 1.5", "tighter_than_the_limit", "threshold:"),
        (
            "from: baseline.calls_per_min, times: 1.5",
            "from: baseline.served_per_min",
            "tighter_than_the_limit",
            "thres",
        ),
    ],
)
def test_a_lint_error_keeps_a_runbook_out(tmp_path: Path, old: str, new: str, code: str, part: str) -> None:
    text = changed(old, new)
    path = tmp_path / "r.yaml"
    path.write_text(text)
    (linted,) = read(path)
    assert (f"{path}:{line_of(text, part)}", code, LintSeverity.ERROR) in [
        (place, finding.code, finding.severity) for place, finding in linted.findings
    ]
    with pytest.raises(RunbookError) as caught:
        load_catalog([tmp_path])
    assert caught.value.place.startswith(f"{path}:")


OFFERS = (
    Offer(Intent.THROTTLE, "key", frozenset({"rpm_limit", "tpm_limit"}), frozenset(), UNDONE),
    Offer(Intent.SET_BUDGET, "team", frozenset({"max_budget"}), frozenset({"max_budget"}), UNDONE),
    Offer(Intent.SET_BUDGET, "key", frozenset({"max_budget"}), frozenset({"max_budget"}), UNDONE),
)


@pytest.mark.parametrize(
    ("old", "new", "code", "told"),
    [
        ("rpm_limit:", "rpm_limitt:", "unknown_parameter", '(did you mean "rpm_limit"?)'),
        (
            "intent: throttle",
            "intent: restart",
            "not_offered",
            "no adapter can restart a key; what it is offered for: no",
        ),
        ("kind: key", "kind: deployment", "not_offered", "what it is offered for: key"),
        ("intent: throttle", "intent: set_budget", "parameter_missing", "set_budget of a key needs the parameter `max"),
    ],
)
def test_what_no_adapter_can_do_is_an_error_where_it_is_known(old: str, new: str, code: str, told: str) -> None:
    text = changed(old, new)
    (linted,) = parse(text, "r.yaml", OFFERS)
    assert any(finding.code == code and told in finding.message for _, finding in linted.findings), linted.findings
    (unaware,) = parse(text, "r.yaml")
    assert code not in {finding.code for _, finding in unaware.findings}
    (sound,) = parse(shipped("throttle-runaway-caller"), "r.yaml", OFFERS)
    assert sound.findings == []


def test_a_file_or_folder_without_a_runbook_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(shipped("cap-token-spend"))
    (tmp_path / "none.yaml").write_text("# later\n")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none.yaml", tmp_path / "folder"):
        with pytest.raises(RunbookError, match="no runbook here") as caught:
            read(tmp_path, path)
        assert caught.value.place == str(path)
    assert len(read(tmp_path)) == 1


def test_a_wrong_item_is_not_also_a_missing_one() -> None:
    with pytest.raises(RunbookError) as caught:
        parse(changed("intent: throttle", "intent: throtle"), "r.yaml")
    assert "write at least 1" not in str(caught.value)
    with pytest.raises(RunbookError, match="write at least 1"):
        parse(changed("modes: [runaway_loop]", "modes: []"), "r.yaml")


def test_lint_of_deployments() -> None:
    text = changed("{from: group.fallbacks}", "{from: group.fallbacks, times: 2}", "fail-over-provider")
    text = text.replace("kind: deployment, select: standby", "kind: key, select: cause")
    (linted,) = parse(text, "r.yaml")
    found = {finding.code for _, finding in linted.findings}
    assert {"mixed_targets", "not_a_number", "source_does_not_fit", "condition_without_group"} <= found


def test_warnings_are_told_and_do_not_stop() -> None:
    text = shipped("fail-over-provider")
    guards = text[text.index("    guards:") : text.index("    horizons:")]
    text = text.replace(guards, "").replace("horizons: [75s, 2m]", "horizons: [10s, 20s]")
    release = text[text.index("  release:") : text.index("  undo:")]
    text = text.replace(release, "").replace("minEvents: 3", "minEvents: 0")
    text = text.replace("measure: provider_error_ratio", "measure: success_ratio")
    (linted,) = parse(text, "r.yaml")
    assert {finding.severity for _, finding in linted.findings} == {LintSeverity.WARNING}
    assert {finding.code for _, finding in linted.findings} == {
        "no_guard",
        "window_over_horizon",
        "no_release",
        "no_minimum",
        "breach_other_way",
    }


def test_a_teams_runbook_replaces_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(changed("times: 1.2", "times: 1.25"))
    own = load_catalog([tmp_path])
    assert tuple(runbook.name for runbook in own.runbooks) == NAMES
    assert own.get("throttle-runaway-caller").ref != load_catalog().get("throttle-runaway-caller").ref
    assert [runbook.name for runbook in load_catalog([tmp_path], shipped=False).runbooks] == ["throttle-runaway-caller"]


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(shipped("cap-token-spend"))
    (tmp_path / "b.yaml").write_text(shipped("cap-token-spend"))
    with pytest.raises(RunbookError, match="two runbooks are named") as caught:
        load_catalog([tmp_path])
    assert "b.yaml" in caught.value.place
    assert "a.yaml" in caught.value.cause


def test_settings_change_the_pace_and_with_it_the_digest() -> None:
    fast = RunbookOverrides(
        horizons_s=(2.5, 5), window_s=2, min_events=2, hold_s=1, release_steps=(1,), watch_s=0.5, ttl_s=60
    )
    quick = load_catalog(overrides={"fail-over-provider": fast}).get("fail-over-provider")
    spec = quick.spec
    assert spec.verification.horizons == (2.5, 5)
    assert {spec.verification.sli.window, spec.verification.guards[0].window} == {2}
    assert spec.breach is not None
    assert (spec.breach.window, spec.breach.min_events, spec.hold, spec.ttl) == (2, 2, 1, 60)
    assert spec.release is not None
    assert (spec.release.steps, spec.release.watch, spec.release.max_relapses) == ((1,), 0.5, 3)
    assert quick.ref != load_catalog().get("fail-over-provider").ref
    assert Runbook.model_validate_json(quick.body()) == quick


def test_overrides_are_checked() -> None:
    with pytest.raises(ConfigError, match='did you mean "cap-token-spend"'):
        load_catalog(overrides={"cap-token-spent": RunbookOverrides()})
    with pytest.raises(RunbookError, match="ttl must exceed") as caught:
        load_catalog(overrides={"cap-token-spend": RunbookOverrides(hold_s=7200)})
    assert "settings change the pace" in caught.value.cause


def test_an_unknown_runbook_is_suggested() -> None:
    with pytest.raises(NotFoundError, match='did you mean "fail-over-provider"'):
        load_catalog().get("failover-provider")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunbookError, match="cannot read the runbook file"):
        read(tmp_path / "absent.yaml")
    (tmp_path / "bad.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RunbookError, match="not UTF-8"):
        read(tmp_path)
