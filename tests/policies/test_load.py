"""Documents from files: what is refused, and that the message names file:line and suggests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.decisions import a_request, an_input

from watchkeeper.core.decisions import Verdict
from watchkeeper.core.errors import NotFoundError, PolicyError
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.compile import compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import load, pack

GRANT = """\
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata:
  name: g
spec:
  match:
    environments: [demo]
    services: [chat]
    agents: ["*"]
    runbooks: ["*"]
    intents: [throttle]
    targetKinds: [key]
  autonomy: bounded
"""
LIMIT = "apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata: {name: l}\nspec: {autonomy: propose}\n"


def failure(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load(path)
    return caught.value.diagnostics().replace(str(path), "g.yaml")


def test_a_folder_is_read_with_its_folders(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "g.yaml").write_text(GRANT)
    (tmp_path / "l.yml").write_text(LIMIT + "---\n" + LIMIT.replace("name: l", "name: l2"))
    (tmp_path / "README.md").write_text("not a policy")
    found = load(tmp_path)
    assert sorted(document.node for document in found.documents) == ["grant/g", "limit/l", "limit/l2"]
    assert found.place("limit/l2") == f"{tmp_path / 'l.yml'}:8"
    assert load(tmp_path, tmp_path / "l.yml").places == found.places


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("autonomy: bounded", "autonomi: bounded", 'g.yaml:13: spec.autonomi: unknown key (did you mean "autonomy"?)'),
        ("    services: [chat]\n", "", "g.yaml:6: spec.match.services: required, but not given"),
        ("services: [chat]", "services: []", "g.yaml:8: spec.match.services: write at least 1"),
        ("services: [chat]", 'services: [chat, "*"]', 'g.yaml:8: spec.match.services: "*" already stands for all'),
        (
            "intents: [throttle]",
            "intents:\n      - throtle",
            "g.yaml:12: spec.match.intents[0]: unknown name 'throtle' (did you mean \"throttle\"?)",
        ),
        ("autonomy: bounded", "autonomy: bonded", '(did you mean "bounded"?)'),
        ("autonomy: bounded", "autonomy: full\n  caps: {ttl: 10}", "g.yaml:14: spec.caps.ttl: write a duration"),
        ("autonomy: bounded", "autonomy: full\n  caps: {ttl: 500ms}", "spec.caps.ttl: a whole number of seconds"),
        ("autonomy: bounded", "autonomy: full\n  caps: {ttl: 400d}", "spec.caps.ttl: a duration is at most 366d"),
        ("autonomy: bounded", "autonomy: full\n  trust_floor: 0.8", 'spec.trust_floor: unknown key (did you mean "tru'),
        ("autonomy: bounded", "autonomy: full\n  failurePolicy: Allow", "input should be 'Deny' or 'RequireApproval'"),
        (
            "kind: Grant",
            "kind: Grnt",
            'kind: must be one of Grant, Limit, PolicyTest (did you mean "Grant"?)',
        ),
        (
            "kind: Grant",
            "kind: PolicyTests",
            "g.yaml:2: kind: must be one of Grant, Limit, Pol",
        ),
        ("kind: Grant\n", "", "g.yaml:1: kind: must be one of Grant, Limit, PolicyTest"),
        ("watchkeeper.dev/v1", "watchkeeper.dev/v2", "g.yaml:1: apiVersion: input should be 'watchkeeper.dev/v1'"),
        ("name: g", "name: G 1", "g.yaml:4: metadata.name: must match the pattern"),
        ("    services: [chat]", "    services: [chat]\n    services: [b]", "g.yaml:9: the key 'services' is written"),
        (GRANT, "- just a list\n", "g.yaml:1: kind: must be one of"),
        (GRANT, "", "g.yaml: no policy document here"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(GRANT.replace(old, new))
    assert told in failure(path)


def test_a_grant_hidden_in_a_limit_is_no_grant(tmp_path: Path) -> None:
    path = tmp_path / "l.yaml"
    path.write_text(GRANT.replace("kind: Grant", "kind: Limit"))
    assert decide(compile_policy(load(path)), an_input()).verdict is Verdict.DENY
    path.write_text(LIMIT + "  grant: {autonomy: full}\n")
    with pytest.raises(PolicyError):
        load(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "cannot read the policy file" in failure(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\xff")
    assert "it is not UTF-8 text" in failure(tmp_path / "bad.yaml")
    (tmp_path / "bad.yaml").unlink()
    assert "no policy document here" in failure(tmp_path)


def test_packs_are_found_by_name() -> None:
    with pytest.raises(NotFoundError, match='did you mean "baseline"'):
        pack("base-line")


def test_the_baseline_is_shadow_everywhere() -> None:
    policy = compile_policy(pack("baseline"))
    assert decide(policy, an_input()).verdict is Verdict.SHADOW
    anywhere = an_input(scope=Scope(environment="x", service="y"), agent="z", runbook="r")
    assert decide(policy, anywhere).verdict is Verdict.SHADOW


@pytest.mark.parametrize(
    ("runbook", "intent", "kind", "verdict"),
    [
        ("fail-over-provider", "shift_traffic", "deployment", Verdict.ALLOW),
        ("fail-over-provider", "set_fallback", "model_group", Verdict.ALLOW),
        ("fail-over-provider", "block", "key", Verdict.DENY),
        ("throttle-runaway-caller", "throttle", "key", Verdict.REQUIRE_APPROVAL),
        ("cap-token-spend", "throttle", "key", Verdict.ALLOW),
        ("cap-token-spend", "set_budget", "key", Verdict.ALLOW),
    ],
)
def test_the_demo_grants_what_it_says_and_only_there(runbook: str, intent: str, kind: str, verdict: Verdict) -> None:
    policy = compile_policy(pack("demo"))
    request = a_request()
    request = request.model_copy(
        update={
            "intent": type(request.intent)(intent),
            "target": request.target.model_copy(update={"kind": kind}),
        }
    )
    assert decide(policy, an_input(request, runbook=runbook)).verdict is verdict
    elsewhere = an_input(request, runbook=runbook, scope=Scope(environment="demo", service="billing"))
    assert decide(policy, elsewhere).verdict is Verdict.DENY
