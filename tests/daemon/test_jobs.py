"""Who works when, and what a failed turn does to the others: nothing, but for the distrust that it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import InputError, LedgerError, StoreError, UnavailableError, UnrecordableError
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.jobs import Duty, Jobs
from watchkeeper.daemon.leader import TTL_S, Leader
from watchkeeper.store.engine import Store


class Leads:
    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer

    async def leads(self) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def jobs_of(leads: bool | Exception) -> tuple[Jobs, Health]:
    health = Health(ManualClock())
    leader: Any = Leads(leads)
    return Jobs(leader, health), health


async def works(jobs: Jobs, duty: Duty) -> bool:
    done = False

    async def job() -> None:
        nonlocal done
        done = True

    await jobs.run("job", job, duty)
    return done


@pytest.mark.parametrize(
    ("duty", "leading", "following", "blind"),
    [
        (Duty.LEAD, True, False, False),
        (Duty.SERVE, True, True, False),
        (Duty.WATCH, True, False, True),
        (Duty.ALWAYS, True, True, True),
    ],
)
async def test_invariant_11_blind_only_watching_goes_on_and_needs_no_lease(
    duty: Duty, leading: bool, following: bool, blind: bool
) -> None:
    assert await works(jobs_of(True)[0], duty) is leading
    assert await works(jobs_of(False)[0], duty) is following
    jobs, health = jobs_of(StoreError("gone"))
    health.distrust("store_unavailable")
    assert await works(jobs, duty) is blind


async def test_a_lease_that_cannot_be_had_is_distrust() -> None:
    jobs, health = jobs_of(StoreError("gone"))
    assert not await works(jobs, Duty.WATCH)
    assert health.why == "store_unavailable"
    assert await works(jobs, Duty.WATCH), "from the next turn on it watches without"


async def test_a_database_that_hangs_is_distrust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkeeper.daemon.jobs.ASK_S", 0.01)
    jobs, health = jobs_of(True)

    async def hangs() -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(jobs._leader, "leads", hangs)
    assert not await works(jobs, Duty.WATCH)
    assert health.why == "store_unavailable"


async def test_a_turn_that_hangs_is_given_up_and_distrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkeeper.daemon.jobs.TURN_S", 0.01)
    jobs, health = jobs_of(True)

    async def hangs() -> None:
        await asyncio.Event().wait()

    await jobs.run("job", hangs)
    assert health.why == "turn_hangs"


@pytest.mark.parametrize(
    ("error", "acting"),
    [
        (StoreError("x"), False),
        (LedgerError("x"), False),
        (UnavailableError("the inbox is full"), True),
        (UnrecordableError("too large"), True),
        (InputError("x"), True),
        (RuntimeError("a bug"), True),
    ],
)
async def test_only_the_database_and_the_ledger_are_distrusted_and_no_error_is_silent(
    error: Exception, acting: bool
) -> None:
    jobs, health = jobs_of(True)

    async def job() -> None:
        raise error

    with capture_logs() as logs:
        await jobs.run("job", job)
    assert health.acting is acting
    assert any(entry.get("job") == "job" for entry in logs)


async def test_a_job_runs_again_after_a_failed_turn_and_stops_within_its_turn() -> None:
    jobs, _ = jobs_of(True)
    turns, third = 0, asyncio.Event()

    async def job() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            third.set()
        raise RuntimeError

    jobs.every(0.01, "job", job)
    jobs.start()
    await third.wait()
    await jobs.stop()
    known = turns
    await asyncio.sleep(0)
    assert turns == known


async def test_a_clock_that_is_set_back_does_not_make_a_lease_longer(store: Store) -> None:
    clock = ManualClock()
    ours, other = Leader(store, clock, "ours"), Leader(store, clock, "other")
    assert await ours.leads()
    clock.step_wall(-3600)
    clock.advance(TTL_S)
    assert await ours.leads()
    clock.step_wall(7200)
    assert await other.leads(), "its row ran out"
    clock.advance(TTL_S / 2)
    assert not await ours.leads(), "asked again although the wall clock said that there was time"
