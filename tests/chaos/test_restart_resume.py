"""A restart in the middle of a wait goes on waiting where it was; an approval is used once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.crashes import ended, judge, moved, opened
from tests.testbed.watch import Nursery


def test_an_approval_given_after_a_restart_is_used_once(nursery: Nursery, tmp_path: Path) -> None:
    with opened(nursery, tmp_path, "approved") as watch:
        watch.provider("provider-a", "500")
        watch.start()
        before = watch.until_status("awaiting_approval")
        (asked,) = watch.get("/v1/approvals")
        watch.kill9()
        watch.start()
        assert watch.until_status("awaiting_approval")["id"] == before["id"]
        (again,) = watch.get("/v1/approvals")
        assert (again["id"], again["plan_hash"]) == (asked["id"], asked["plan_hash"])
        watch.post(f"/v1/approvals/{asked['id']}", {"answer": "approved"})
        with pytest.raises(AssertionError, match=r"4\d\d"):
            watch.post(f"/v1/approvals/{asked['id']}", {"answer": "approved"})
        watch.until(lambda: moved(watch, "recovers") and ended(watch), what="end of the incident")
        judge(watch, "approved", 1)


def test_a_hold_goes_on_after_a_restart(nursery: Nursery, tmp_path: Path) -> None:
    with opened(nursery, tmp_path, "recovers") as watch:
        watch.settings["runbooks"]["overrides"]["fail-over-provider"]["hold_s"] = 4
        watch.provider("provider-a", "500")
        watch.start()
        watch.until(lambda: moved(watch, "recovers") and bool(watch.incidents()), what="incident")
        watch.until(lambda: moved(watch, "recovers") and watch.incidents()[0]["status"] == "holding", what="hold")
        done = watch.counts()
        watch.kill9()
        watch.start()
        assert watch.incidents()[0]["status"] == "holding"
        assert watch.counts() == done
        watch.until(lambda: moved(watch, "recovers") and ended(watch), what="end of the incident")
        judge(watch, "recovers", 1)
