"""A plan that waits for people, in a daemon of its own: edited, killed in between, escalated, told together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.grants import grant, policy
from tests.testbed.receiver import Delivery, Receiver
from tests.testbed.watch import Nursery, Watch, open_nursery, open_watch

pytestmark = pytest.mark.timeout(240)

BEFORE = {"dep-a": 1.0, "dep-b": 0.0}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened


def asking(directory: Path, **terms: Any) -> dict[str, str]:
    """A fail-over that takes an approval with these terms."""
    document = grant("fail-over-provider", ["shift_traffic"], ["deployment"], environment="demo", approvers=["admin"])
    document["spec"]["approvals"] = [{"roles": ["admin"], "ttl": "10m", **terms}]
    policies = directory / "policies"
    policies.mkdir(parents=True)
    (policies / "ask.yaml").write_text(policy(document))
    return {"dir": str(policies)}


def waits_for(watch: Watch, plan_hash: str) -> bool:
    return [each["plan_hash"] for each in watch.get("/v1/approvals")] == [plan_hash]


def drained_to(watch: Watch, weight: float) -> bool:
    return watch.weights()["dep-a"] == weight


def told(seen: tuple[Delivery, ...]) -> list[tuple[str, str]]:
    """Where and why, each notice once: a daemon that was killed sends again what it may not have sent."""
    notices = {each.headers["x-watchkeeper-dedup"]: each for each in seen}
    return sorted((each.path, json.loads(each.body)["reason"]) for each in notices.values())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {} if request.param == "sqlite" else {"database": {"url": request.getfixturevalue("pg_url")}}


def test_e2e_an_edit_survives_kill_9_and_only_the_edited_plan_is_carried_out(
    nursery: Nursery, tmp_path: Path, database: dict[str, Any]
) -> None:
    with open_watch(nursery, tmp_path, policy=asking(tmp_path), **database) as watch:
        watch.settings["timing"]["reconcile_tries"] = 40  # a restart leaves the breach unread for some seconds
        watch.provider("provider-a", "500")
        watch.start()
        watch.until_status("awaiting_approval")
        (asked,) = watch.get("/v1/approvals")
        step = next(each["step"] for each in asked["steps"] if each["target"]["id"] == "dep-a")
        edit = {"edits": [{"step": step, "name": "weight", "value": 0.25}], "plan_hash": asked["plan_hash"]}
        made = watch.post(f"/v1/approvals/{asked['id']}/edit", edit)
        watch.kill9()
        watch.start()
        watch.until(partial(waits_for, watch, made["plan_hash"]), what="the edited plan")
        (again,) = watch.get("/v1/approvals")
        assert again["plan"]["authors"] == ["local-admin"]
        with pytest.raises(AssertionError, match="409"):
            watch.post(f"/v1/approvals/{asked['id']}", {"answer": "approved"})
        assert not watch.counts()
        watch.post(f"/v1/approvals/{again['id']}", {"answer": "approved", "plan_hash": made["plan_hash"]})
        watch.until(partial(drained_to, watch, 0.25), what=f"the edited effect, {watch.incidents()}")
        assert set(watch.counts().values()) == {1}
        assert watch.post("/v1/ledger/verify", {})["ok"]
        replayed = watch.post("/v1/ledger/replay")
        assert (replayed["differed"], replayed["matched"] >= 2) == ([], True)


def test_e2e_who_edited_a_plan_does_not_approve_it_and_rejects_it_instead(nursery: Nursery, tmp_path: Path) -> None:
    with open_watch(nursery, tmp_path, policy=asking(tmp_path, notAuthor=True)) as watch:
        watch.provider("provider-a", "500")
        watch.start()
        watch.until_status("awaiting_approval")
        (asked,) = watch.get("/v1/approvals")
        step = next(each["step"] for each in asked["steps"] if each["target"]["id"] == "dep-a")
        edit = {"edits": [{"step": step, "name": "weight", "value": 0.5}]}
        made = watch.post(f"/v1/approvals/{asked['id']}/edit", edit)
        watch.until(partial(waits_for, watch, made["plan_hash"]), what="the edited plan")
        (again,) = watch.get("/v1/approvals")
        with pytest.raises(AssertionError, match="403"):
            watch.post(f"/v1/approvals/{again['id']}", {"answer": "approved"})
        watch.post(f"/v1/approvals/{again['id']}", {"answer": "rejected"})
        watch.until_status("escalated")
        assert not watch.counts()


def test_e2e_people_are_told_once_and_more_people_when_nobody_answers(
    nursery: Nursery, tmp_path: Path, receiver: Receiver
) -> None:
    notify = [{"name": name, "url": f"{receiver.url}/{name}"} for name in ("chat", "pager")]
    chain = [{"after": "3s", "roles": ["operator"], "notify": ["pager"]}]
    with open_watch(nursery, tmp_path, policy=asking(tmp_path, escalation=chain), notify=notify) as watch:
        watch.provider("provider-a", "500")
        watch.start()
        watch.until_status("awaiting_approval")
        receiver.wait_for(lambda seen: len(told(seen)) == 2)
        watch.kill9()
        watch.start()
        assert told(receiver.wait_for(lambda seen: len(told(seen)) == 3)) == [
            ("/chat", "approval_required"),
            ("/pager", "approval_escalated"),
            ("/pager", "approval_required"),
        ]
        (asked,) = watch.get("/v1/approvals")
        assert [each["roles"] for each in asked["reached"]] == [["operator"]]
        kinds = [each["envelope"]["type"] for each in watch.entries()]
        assert kinds.count("dev.watchkeeper.approval.escalated.v1") == 1
