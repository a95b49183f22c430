"""The gateway's keys: what is enforced, what a null clears, and who may write."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.labs import open_gateway

from watchkeeper.core.clock import ManualClock
from watchkeeper.lab.gateway.rows import key_hash


async def test_rpm_limit_holds_for_its_key_alone_until_null_clears_it(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        runaway, other = await lab.key("runaway"), await lab.key("other")
        updated = await lab.update_key(runaway, rpm_limit=2)
        assert updated.json()["rpm_limit"] == 2
        answers = [(await lab.chat(runaway)).status_code for _ in range(4)]
        assert answers == [200, 200, 429, 429]
        refusal = await lab.chat(runaway)
        error = refusal.json()["error"]
        assert error["code"] == "429"
        assert "Limit type: requests. Current limit: 2, Remaining: 0." in error["message"]
        assert refusal.headers["retry-after"] == "60"
        assert (await lab.chat(other)).status_code == 200
        cleared = await lab.update_key(runaway, rpm_limit=None)
        assert cleared.json()["rpm_limit"] is None
        assert (await lab.chat(runaway)).status_code == 200


async def test_the_window_opens_anew_after_its_length(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_gateway(tmp_path, clock) as lab:
        key = await lab.key("k", rpm_limit=1)
        assert [(await lab.chat(key)).status_code for _ in range(2)] == [200, 429]
        clock.advance(60)
        assert [(await lab.chat(key)).status_code for _ in range(2)] == [200, 429]


async def test_tpm_limit_counts_tokens_of_finished_calls(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k", tpm_limit=15)
        answers = [(await lab.chat(key, prompt="x" * 40, max_tokens=10)) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert "Limit type: tokens" in answers[1].json()["error"]["message"]


async def test_a_limit_set_again_within_the_window_meets_the_old_counts(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, ManualClock()) as lab:
        key = await lab.key("k", rpm_limit=2)
        assert [(await lab.chat(key)).status_code for _ in range(2)] == [200, 200]
        await lab.update_key(key, rpm_limit=None)
        assert (await lab.chat(key)).status_code == 200
        await lab.update_key(key, rpm_limit=1)
        assert (await lab.chat(key)).status_code == 429


async def test_only_an_admin_write_moves_settings_updated_at(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_gateway(tmp_path, clock) as lab:
        key = await lab.key("k")
        clock.advance(1)
        await lab.update_key(key, rpm_limit=5)
        clock.advance(1)
        await lab.chat(key)
        lab.gateway.spend.flush()
        info = (await lab.admin.get("/key/info", params={"key": key})).json()["info"]
        assert (info["created_at"], info["settings_updated_at"], info["updated_at"]) == (
            "2026-01-01T00:00:00.000000+00:00",
            "2026-01-01T00:00:01.000000+00:00",
            "2026-01-01T00:00:02.000000+00:00",
        )


async def test_max_parallel_requests_of_zero_admits_nothing(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await lab.update_key(key, max_parallel_requests=0)
        assert (await lab.chat(key)).status_code == 429
        await lab.update_key(key, max_parallel_requests=1)
        assert (await lab.chat(key)).status_code == 200


async def test_a_budget_refuses_with_422_and_null_clears_it(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k", max_budget=0.5)
        assert (await lab.chat(key, max_tokens=10)).status_code == 200  # costs 1.01
        refused = await lab.chat(key)
        assert refused.status_code == 422
        assert refused.json()["error"]["type"] == "budget_exceeded"
        assert refused.json()["error"]["message"].startswith("Budget has been exceeded! Key=k (sk-...")
        await lab.update_key(key, max_budget=None)
        assert (await lab.chat(key)).status_code == 200


async def test_block_and_unblock_by_key_or_hash(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        blocked = await lab.admin.post("/key/block", json={"key": key_hash(key)})
        assert blocked.json()["blocked"] is True
        refused = await lab.chat(key)
        assert refused.status_code == 401
        assert "Key is blocked" in refused.json()["error"]["message"]
        assert (await lab.admin.post("/key/unblock", json={"key": key})).json()["blocked"] is False
        assert (await lab.chat(key)).status_code == 200


async def test_unknown_keys_and_wrong_admins_are_refused(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        stranger = await lab.chat("sk-stranger-1234")
        assert stranger.status_code == 401
        assert stranger.json()["error"]["type"] == "token_not_found_in_db"
        as_caller = {"authorization": f"Bearer {key}"}
        assert (await lab.admin.get("/key/list", headers=as_caller)).status_code == 401
        assert (await lab.admin.get("/key/list", headers={"authorization": ""})).status_code == 401
        assert (await lab.admin.post("/key/update", json={"key": "0" * 64, "rpm_limit": 1})).status_code == 404
        assert (await lab.admin.get("/key/info", params={"key": "0" * 64})).status_code == 404


async def test_an_absent_field_is_left_alone(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k", rpm_limit=7, metadata={"team": "t"}, max_budget=3.0)
        await lab.update_key(key, tpm_limit=100)
        info = (await lab.admin.get("/key/info", params={"key": key_hash(key)})).json()["info"]
        assert {name: info[name] for name in ("rpm_limit", "tpm_limit", "max_budget", "metadata")} == {
            "rpm_limit": 7,
            "tpm_limit": 100,
            "max_budget": 3.0,
            "metadata": {"team": "t"},
        }
        assert "token" not in info


@pytest.mark.parametrize("field", ["rpm_limit", "tpm_limit", "max_parallel_requests"])
async def test_a_limit_that_is_no_number_is_422(tmp_path: Path, field: str) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        assert (await lab.update_key(key, **{field: "many"})).status_code == 422
        assert lab.journal("/key/update") == []


async def test_key_list_is_paged(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        hashes = {key_hash(await lab.key(f"k{number}")) for number in range(5)}
        pages = [
            (await lab.admin.get("/key/list", params={"page": number, "size": 2, "return_full_object": "true"})).json()
            for number in (1, 2, 3)
        ]
        assert {row["token"] for page in pages for row in page["keys"]} == hashes
        assert [page["current_page"] for page in pages] == [1, 2, 3]
        assert {(page["total_count"], page["total_pages"]) for page in pages} == {(5, 3)}
        plain = (await lab.admin.get("/key/list", params={"key_alias": "k3"})).json()["keys"]
        assert plain == [row["token"] for page in pages for row in page["keys"] if row["key_alias"] == "k3"]
