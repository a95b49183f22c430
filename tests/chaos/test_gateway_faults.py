"""The gateway down, slow, or answering nonsense while the daemon acts: never done twice, settled by observing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.crashes import crash, ended, judge, moved, opened, settled
from tests.testbed.receiver import Receiver
from tests.testbed.watch import Nursery, Watch, open_watch

DONE = ("slow", "drop_after_effect")
LONGER_THAN_WE_WAIT_S = 6
LOST = ("down", "html")
LONGER_THAN_A_CALL_LANDS = {"claim_s": 4, "grace_s": 6}


@pytest.mark.parametrize("mode", DONE)
def test_invariant_4_an_effect_without_a_reply_is_observed_and_not_sent_again(
    nursery: Nursery, tmp_path: Path, mode: str
) -> None:
    with opened(nursery, tmp_path, "recovers") as watch:
        watch.admin_fault(mode, applies_to="writes", count=1, delay_s=LONGER_THAN_WE_WAIT_S)
        crash(watch, "recovers", ())
        codes = {data["code"] for data in _effects(watch)}
        assert "observed" in codes


@pytest.mark.parametrize("mode", LOST)
def test_invariant_4_what_was_seen_not_to_have_happened_is_sent_again_once(
    nursery: Nursery, tmp_path: Path, mode: str
) -> None:
    """The answer says nothing of the effect: it is looked at when it can no longer land, under a new claim."""
    with opened(nursery, tmp_path, "recovers") as watch:
        watch.settings["timing"] |= LONGER_THAN_A_CALL_LANDS
        watch.admin_fault(mode, applies_to="writes", count=1)
        crash(watch, "recovers", ())
        first = _effects(watch)[0]
        assert (first["effect"], first["code"]) == ("unknown", "not_observed")
        assert max(int(data["fence"]) for data in _kinds(watch, "claim.v1") if data["key"] == first["key"]) > 1


def test_an_effect_that_the_gateway_refused_is_settled_so_and_a_person_is_called(
    nursery: Nursery, tmp_path: Path
) -> None:
    with opened(nursery, tmp_path, "recovers") as watch:
        watch.admin_fault("500", applies_to="writes", count=1)
        watch.provider("provider-a", "500")
        watch.start()
        watch.until_status("escalated")
        watch.provider("provider-a", "ok")
        watch.until(lambda: ended(watch), what="end of the incident")
        assert not watch.counts()
        assert set(settled(watch).values()) == {"failed"}
        assert watch.post("/v1/ledger/verify", {})["ok"]


def test_a_gateway_that_stays_away_calls_a_person_and_the_open_claim_is_settled_when_it_is_back(
    nursery: Nursery, tmp_path: Path, receiver: Receiver
) -> None:
    notify = [{"name": "pager", "url": f"{receiver.url}/page"}]
    with open_watch(nursery, tmp_path, notify=notify) as watch:
        watch.admin_fault("slow", applies_to="writes", count=1, delay_s=LONGER_THAN_WE_WAIT_S)
        watch.provider("provider-a", "500")
        watch.start()
        watch.until(watch.admin_fault_is_used_up, what="send")
        watch.admin_fault("down")
        (page,) = receiver.wait_for(lambda seen: len(seen) == 1)
        notice = json.loads(page.body)
        assert (notice["kind"], notice["reason"]) == ("escalation", "effect_unknown")
        assert set(settled(watch).values()) == {"unknown"}
        watch.admin_fault("none")
        watch.until(lambda: set(settled(watch).values()) == {"succeeded"}, what="settled claim")
        assert list(watch.counts().values()) == [1]
        assert set(watch.counts()) == set(settled(watch))
        assert watch.post("/v1/ledger/verify", {})["ok"]


def test_the_admin_key_is_in_no_log_no_ledger_and_no_evidence(nursery: Nursery, tmp_path: Path) -> None:
    with opened(nursery, tmp_path, "recovers") as watch:
        watch.settings["log"] = {"level": "debug"}
        watch.admin_fault("500", applies_to="reads", count=2)
        watch.provider("provider-a", "500")
        watch.start("settled")
        watch.until(lambda: moved(watch, "recovers") and not watch.running, what="kill")
        watch.start()
        watch.until(lambda: moved(watch, "recovers") and ended(watch), what="end of the incident")
        judge(watch, "recovers", 1)
        watch.admin_fault("html", applies_to="reads", count=5)
        watch.until(lambda: b"source_lost" in watch.log.read_bytes(), what="lost source")
        stories = [watch.download(f"/v1/incidents/{each['id']}/story") for each in watch.incidents()]
        export = watch.download("/v1/ledger/export")
        secret = watch.admin_key.encode()
        watch.stop()
        places = [path for path in watch.data.rglob("*") if path.is_file()]
        assert any(path.name == "watchkeeper.db" for path in places)
        for body in (*stories, export, watch.log.read_bytes(), *(path.read_bytes() for path in places)):
            assert secret not in body
            assert secret.removeprefix(b"sk-lab-master-") not in body


def _effects(watch: Watch) -> list[dict[str, str]]:
    return _kinds(watch, "effect.v1")


def _kinds(watch: Watch, kind: str) -> list[dict[str, str]]:
    return [each["envelope"]["data"] for each in watch.entries() if each["envelope"]["type"].endswith(kind)]
