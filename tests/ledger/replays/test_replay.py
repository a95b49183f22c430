"""Replay: matched, differed and not recomputable are three answers, never confused (invariant 8)."""

from __future__ import annotations

import pytest
from tests.testbed.entries import one_of_each
from tests.testbed.ledgers import Log

from watchkeeper.core.decisions import DecisionRecord, Verdict
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.reader import Entry
from watchkeeper.ledger.replays.replay import NotRecomputableError, ReasonCount, Recomputers, replay_check, replay_log
from watchkeeper.store.engine import Store


def same(recorded: Contract) -> Contract:
    return recorded.model_copy()


def other_verdict(recorded: Contract) -> Contract:
    assert isinstance(recorded, DecisionRecord)
    return recorded.model_copy(update={"decision": recorded.decision.model_copy(update={"verdict": Verdict.DENY})})


def pruned(recorded: Contract) -> Contract:
    raise NotRecomputableError("pruned")


def policy_gone(recorded: Contract) -> Contract:
    raise NotFoundError("no such policy version")


@pytest.fixture
async def entries(store: Store) -> list[Entry]:
    log = Log(store)
    await log.append(*one_of_each().values())
    await log.sequencer.run_once()
    return await log.reader.entries(0, 100)


async def test_each_answer_is_counted_apart(entries: list[Entry]) -> None:
    recomputers = Recomputers()
    recomputers.register(EntryType.PLAN, same)
    recomputers.register(EntryType.DECISION, other_verdict)
    recomputers.register(EntryType.FINDING, pruned)
    recomputers.register(EntryType.DIAGNOSIS, policy_gone)
    report = replay_check(entries, recomputers)
    differing = [entry.envelope.id for entry in entries if entry.envelope.type == EntryType.DECISION]
    assert (report.seen, report.matched, list(report.differed)) == (len(entries), 1, differing)
    assert report.not_recomputable == (
        ReasonCount(reason="not_kept", count=1),
        ReasonCount(reason="pruned", count=1),
    )
    assert not report.ok


async def test_invariant_8_every_kind_survives_its_own_bytes(entries: list[Entry]) -> None:
    recomputers = Recomputers()
    for kind in EntryType:
        recomputers.register(kind, same)
    report = replay_check(entries, recomputers)
    assert (report.matched, report.differed, report.not_recomputable) == (len(EntryType), (), ())


async def test_an_entry_that_cannot_be_read_is_no_match(entries: list[Entry]) -> None:
    recomputers = Recomputers()
    recomputers.register(EntryType.PLAN, same)
    (plan,) = [entry for entry in entries if entry.envelope.type == EntryType.PLAN]
    broken = plan.model_copy(update={"envelope": plan.envelope.model_copy(update={"data": {"id": 1}})})
    report = replay_check([broken], recomputers)
    assert (report.matched, report.not_recomputable) == (0, (ReasonCount(reason="unreadable", count=1),))


async def test_a_whole_log_is_replayed_in_pages(store: Store) -> None:
    log = Log(store)
    await log.append(*one_of_each().values())
    await log.sequencer.run_once()
    recomputers = Recomputers()
    recomputers.register(EntryType.PLAN, same)
    report = await replay_log(log.reader.iterate(), recomputers)
    assert (report.seen, report.matched, report.ok) == (len(EntryType), 1, True)


def test_a_kind_is_recomputed_in_one_way() -> None:
    recomputers = Recomputers()
    recomputers.register(EntryType.PLAN, same)
    with pytest.raises(ValueError, match="has a recomputer"):
        recomputers.register(EntryType.PLAN, same)
