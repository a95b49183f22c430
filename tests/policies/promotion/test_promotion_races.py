"""Words about agents among claims, stops, outcomes and crashes: nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import AGENT, Authority, a_change, a_plan, a_reading, entries
from tests.testbed.process import ChildProcess
from tests.testbed.promoting import KEY, OLGA, earned, outcome, over, promoted, record, words

from watchkeeper.core.agents import StandingChanged, Why, Word
from watchkeeper.core.claims import Claim
from watchkeeper.core.clock import ManualClock, SystemClock
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.entries import Draft, EntryType, StopRecorded
from watchkeeper.core.errors import ConflictError, RefusedError
from watchkeeper.core.ids import EntryId
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.trust import Credit, Grounds
from watchkeeper.policies.claiming.claims import Taken
from watchkeeper.policies.compile import Policy
from watchkeeper.store.engine import Store

ROOT = Path(__file__).parents[3]
UNSAFE = Credit.FAILURE, Grounds.UNSAFE
Result = TypeVar("Result")


class Paused:
    """Stands where a transaction appends its entry, until told to go on."""

    def __init__(self, authority: Authority) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self._append = authority.ledger.append
        authority.ledger.append = self._wait  # type: ignore[method-assign]

    async def _wait(self, tx: AsyncConnection, *drafts: Draft) -> tuple[EntryId, ...]:
        self.reached.set()
        await self.go.wait()
        return await self._append(tx, *drafts)


async def waits(work: Awaitable[Result]) -> asyncio.Future[Result]:
    """Begun, and not done for as long as somebody stands in its way."""
    begun = asyncio.ensure_future(work)
    assert (await asyncio.wait({begun}, timeout=0.2))[0] == set()
    return begun


async def test_a_failure_that_is_recorded_beside_a_promotion_takes_it_back(store: Store) -> None:
    """The failure is not committed when the promotion looks at the record, nor the promotion when the failure looks."""
    one, other = Authority(store, ManualClock()), Authority(store, ManualClock(), writer="o")
    promotions = over(one)
    over(other)
    await earned(one)
    pause = Paused(one)
    promoting = asyncio.ensure_future(promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "a good record"))
    await pause.reached.wait()
    failing = await waits(record(other, outcome(2000, *UNSAFE)))
    pause.go.set()
    await promoting
    await failing
    assert await words(one) == [
        (Word.PROMOTED, Why.PERSON, Autonomy.BOUNDED),
        (Word.DEMOTED, Why.ROLLED_BACK, None),
    ]
    assert await promotions.promoted_for(a_plan()) is None


async def test_a_promotion_waits_for_a_failure_that_is_being_recorded_and_is_refused(store: Store) -> None:
    one, other = Authority(store, ManualClock()), Authority(store, ManualClock(), writer="o")
    promotions = over(one)
    over(other)
    await earned(one)
    pause = Paused(other)
    failing = asyncio.ensure_future(record(other, outcome(2000, *UNSAFE)))
    await pause.reached.wait()
    promoting = await waits(promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "a good record"))
    pause.go.set()
    await failing
    with pytest.raises(ConflictError, match="rollbacks"):
        await promoting
    assert await words(one) == []


async def test_a_stop_beside_the_first_promotion_of_an_agent_is_not_lost(store: Store) -> None:
    """Both make the row of the agent's epoch."""
    one, other = Authority(store, ManualClock()), Authority(store, ManualClock(), writer="o")
    promotions = over(one)
    await earned(one)
    pause = Paused(one)
    promoting = asyncio.ensure_future(promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "a good record"))
    await pause.reached.wait()
    stopping = await waits(other.epochs.stop(f"agent:{AGENT}", OLGA))
    pause.go.set()
    await promoting
    assert (await stopping).epoch == 1
    assert [each.stopped for each in await one.epochs.status()] == [True]


async def test_invariant_2_a_demotion_and_a_stop_at_once_move_the_epoch_twice(store: Store) -> None:
    """With one move for both, what was decided between the two would hold again once the stop is lifted."""
    one, other = Authority(store, ManualClock()), Authority(store, ManualClock(), writer="o")
    promotions = over(one)
    await promoted(one, promotions)
    pause = Paused(one)
    failing = asyncio.ensure_future(record(one, outcome(2000, *UNSAFE)))
    await pause.reached.wait()
    stopping = await waits(other.epochs.stop(f"agent:{AGENT}", OLGA))
    pause.go.set()
    await failing
    assert (await stopping).epoch == 2
    moved = [
        (type(each).__name__, each.epoch.epoch)
        for each in await entries(store, EntryType.AGENT_STANDING, EntryType.STOP)
        if isinstance(each, StandingChanged | StopRecorded) and each.epoch is not None
    ]
    assert moved == [("StandingChanged", 1), ("StopRecorded", 2)]


async def test_an_effect_that_fails_beside_a_claim_on_its_target_waits_for_nobody_who_waits_for_it(
    store: Store,
) -> None:
    """The claim holds the agent's epoch and comes to the target's row last; the settlement needs both."""
    claiming, settling = Authority(store, ManualClock()), Authority(store, ManualClock(), writer="s")
    promotions = over(settling)
    await promoted(settling, promotions)
    claim = await settling.taken(a_plan())
    request = await claiming.request(a_plan("pln_2", "inc_2", [a_change(path="tpm_limit")]))
    reached, go, active = asyncio.Event(), asyncio.Event(), claiming._active
    reads = itertools.count(1)

    async def slow(tx: AsyncConnection, version: str) -> Policy | None:
        if next(reads) == 2:  # the first comes before the gate, this one after the epochs
            reached.set()
            await go.wait()
        return await active(tx, version)

    claiming.claims._active = slow
    claimed = asyncio.ensure_future(claiming.claims.take(request))
    await reached.wait()
    settled = await waits(settling.claims.settle(claim, Effect.FAILED, "http_500"))
    go.set()
    with pytest.raises(RefusedError, match="not settled"):
        await claimed
    assert (await settled).effect is Effect.FAILED


async def test_outcomes_of_several_agents_are_recorded_beside_a_claim_of_the_same_process(store: Store) -> None:
    """Both append as one writer: whoever holds the writer's row must wait for no epoch."""
    claiming, scoring = Authority(store, ManualClock()), Authority(store, ManualClock())
    await promoted(scoring, over(scoring))
    request = await claiming.request(a_plan())
    pause = Paused(claiming)
    claimed = asyncio.ensure_future(claiming.claims.take(request))
    await pause.reached.wait()
    told = outcome(2000, *UNSAFE, agent="diagnoser/gateway"), outcome(2000, *UNSAFE)
    recorded = await waits(record(scoring, *told))
    pause.go.set()
    assert isinstance(await claimed, Taken)
    await recorded
    kinds = [type(each).__name__ for each in (await entries(store))[-4:]]
    assert kinds == ["Claim", "StandingChanged", "TrustOutcome", "TrustOutcome"]


async def test_two_promotions_at_once_are_one_after_the_other(store: Store) -> None:
    one, other = Authority(store, ManualClock()), Authority(store, ManualClock(), writer="o")
    first, second = over(one), over(other)
    await earned(one)
    said = await asyncio.gather(
        first.promote(KEY, Autonomy.BOUNDED, OLGA, "a good record", 0),
        second.promote(KEY, Autonomy.FULL, OLGA, "a good record", 0),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in said) == ["ConflictError", "StandingChanged"]
    assert len(await words(one)) == 1


async def test_invariant_2_claims_of_several_processes_hold_no_epoch_of_before_a_word(
    store: Store, tmp_path: Path
) -> None:
    """Ceilings go down and up, and promotions come and go, while three processes claim. The ledger's order judges."""
    authority = Authority(store, SystemClock())
    promotions = over(authority)
    await earned(authority)
    url = store.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-m", "tests.testbed.claimant", url]
    children = [
        ChildProcess(f"c{n}", [*argv, f"c{n}", "many", "100000"], log=tmp_path / f"c{n}.log", cwd=ROOT)
        for n in range(3)
    ]
    with children[0], children[1], children[2]:
        while len(await entries(store, EntryType.CLAIM)) < 25:
            assert all(child.running for child in children), [child.log_tail() for child in children]
            await asyncio.sleep(0.05)
        for n in range(8):
            await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, f"try {n}")
            await promotions.demote(KEY, OLGA, f"no, not {n}")
            await promotions.set_ceiling(AGENT, Autonomy.SHADOW if n % 2 else Autonomy.PROPOSE, OLGA, f"{n}")
            await promotions.set_ceiling(AGENT, Autonomy.FULL, OLGA, f"{n}")
        await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "at last")
        await record(authority, outcome(3000, *UNSAFE))
        await authority.epochs.stop(f"agent:{AGENT}", OLGA)
        for child in children:
            child.wait_until(lambda c=child: c.log_tail().split() != [], timeout_s=60, what="the end")  # type: ignore[misc]
        said = {word for child in children for word in child.log_tail().split()}
    assert said == {"stopped"}
    now, claims, moves = 0, 0, 0
    for each in await entries(store):
        if isinstance(each, StandingChanged | StopRecorded) and each.epoch is not None:
            assert each.epoch.epoch == now + 1
            now, moves = each.epoch.epoch, moves + 1
        elif isinstance(each, Claim):
            (held,) = [epoch.epoch for epoch in each.epochs if epoch.scope == f"agent:{AGENT}"]
            assert held == now, "a claim was let through with the epoch of before"
            claims += 1
    assert (moves, claims >= 25) == (18, True)


async def test_invariant_1_killed_inside_a_word_nothing_was_said(store: Store, tmp_path: Path) -> None:
    authority = Authority(store, SystemClock())
    promotions = over(authority)
    await promoted(authority, promotions)
    request = await authority.request(a_plan())
    url = store.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-m", "tests.testbed.claimant", url, "c", "lowering"]
    with ChildProcess("c", argv, log=tmp_path / "c.log", cwd=ROOT) as child:
        child.wait_until(lambda: "lowering" in child.log_tail().split(), timeout_s=60, what="lowering")
        child.kill9()
    assert await promotions.ceiling_of((AGENT,)) is Autonomy.FULL
    assert await promotions.promoted_for(a_plan()) is Autonomy.BOUNDED
    fresh = request.model_copy(update={"breach": a_reading(authority.clock.now())})
    assert isinstance(await authority.claims.take(fresh), Taken)
    lowered = await promotions.set_ceiling(AGENT, Autonomy.PROPOSE, OLGA, "said this time")
    assert lowered.epoch is not None
    assert lowered.epoch.epoch == 1
