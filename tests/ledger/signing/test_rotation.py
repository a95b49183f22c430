"""Rotation in the database: one transaction hands the log over, and whoever must not sign does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.ledgers import ORIGIN, Log, draft

from watchkeeper.core.entries import Draft, EntryType, KeyRotated
from watchkeeper.core.errors import LedgerError
from watchkeeper.ledger import sequencer as sequencing
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.ledger.exports.export import export, verify_export
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import open_note
from watchkeeper.store.engine import Store


def sequencer(log: Log, key: SigningKey, previous: SigningKey | None = None, holder: str = "two") -> Sequencer:
    return Sequencer(log.store, log.clock, key, ORIGIN, previous=previous, holder=holder)


async def rotated(log: Log) -> SigningKey:
    """Two entries of the next key, with the rotation between them and what came before; returns the key before."""
    await log.sequencer.release()
    previous = log.rotate()
    await log.append(draft(), draft())
    assert await log.sequencer.run_once() == 3
    return previous


async def test_the_first_batch_of_a_new_key_hands_the_log_over(store: Store) -> None:
    log = Log(store)
    await log.grow(2)
    previous = await rotated(log)
    both = [previous.verifier, log.key.verifier]
    assert set(open_note(await log.checkpoint(), both)[1]) == set(both)
    (entry,) = await log.reader.find(types=(EntryType.KEY_ROTATED,))
    assert entry.envelope.typed() == KeyRotated(previous=previous.verifier.vkey, following=log.key.verifier.vkey)
    await log.grow(1)
    assert open_note(await log.checkpoint(), both)[1] == (log.key.verifier,)
    assert len(await log.reader.find(types=(EntryType.KEY_ROTATED,))) == 1


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_every_key_of_the_log_verifies_all_of_it(store: Store, tmp_path: Path, times: int) -> None:
    log = Log(store)
    await log.grow(2)
    keys, anchors = [log.key], [await log.checkpoint()]
    for _ in range(times):
        await rotated(log)
        keys.append(log.key)
        anchors.append(await log.checkpoint())
        await log.grow(1)
    await export(log.reader, tmp_path / "out", log.key.verifier.vkey)
    for key in keys:
        for anchor in anchors:
            report = await verify(log.reader, key.verifier.vkey, anchor)
            assert (report.ok, report.rollback) == (True, "excluded"), report.problems
            assert verify_export(tmp_path / "out", key.verifier.vkey, anchor).rollback == "excluded"
    stranger = SigningKey.generate(ORIGIN).verifier.vkey
    assert not (await verify(log.reader, stranger)).ok
    assert not verify_export(tmp_path / "out", stranger).ok


async def test_a_crash_before_the_commit_leaves_the_rotation_due(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(store)
    await log.grow(2)
    await log.sequencer.release()
    previous = log.rotate()
    await log.append(draft())

    def dies(*_: object) -> str:
        raise RuntimeError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(sequencing, "sign_checkpoint", dies)
        with pytest.raises(RuntimeError, match="killed"):
            await log.sequencer.run_once()
    assert (await log.reader.size(), await log.reader.pending()) == (2, 1)
    await log.sequencer.release()
    assert await sequencer(log, log.key, previous).run_once() == 2
    assert (await log.verify()).ok


async def test_invariant_8_a_replica_with_the_retired_key_signs_nothing(store: Store) -> None:
    """Right after the checkpoint that it could still open, and later. It does not keep the lease either."""
    log = Log(store)
    await log.grow(2)
    previous = await rotated(log)
    await log.sequencer.release()
    old = sequencer(log, previous)
    for _ in range(2):
        size = await log.reader.size()
        await log.append(draft())
        with pytest.raises(LedgerError, match=r"handed over|does not hold"):
            await old.run_once()
        assert await log.reader.size() == size
        assert await log.sequencer.run_once() == 1
        await log.sequencer.release()
    assert (await log.verify()).ok


async def test_a_new_key_alone_is_refused_with_what_to_do(store: Store) -> None:
    log = Log(store)
    await log.grow(2)
    await log.sequencer.release()
    await log.append(draft())
    with pytest.raises(LedgerError, match="does not hold") as refused:
        await sequencer(log, SigningKey.generate(ORIGIN)).run_once()
    assert "previous_signing_key_file" in refused.value.next_step
    unrelated = sequencer(log, SigningKey.generate(ORIGIN), SigningKey.generate(ORIGIN))
    with pytest.raises(LedgerError, match="does not hold"):
        await unrelated.run_once()


async def test_a_retired_key_does_not_come_back(store: Store) -> None:
    log = Log(store)
    await log.grow(1)
    first = await rotated(log)
    await log.sequencer.release()
    await log.append(draft())
    with pytest.raises(LedgerError, match="handed over"):
        await sequencer(log, first, log.key).run_once()
    await log.sequencer.run_once()
    await log.sequencer.release()
    await log.append(draft())
    with pytest.raises(LedgerError, match="handed over"):
        await sequencer(log, first, log.key).run_once()
    with pytest.raises(LedgerError, match=r"handed over|does not hold"):
        await sequencer(log, SigningKey.generate(ORIGIN), first).run_once()


async def test_the_key_before_may_stay_configured(store: Store) -> None:
    log = Log(store)
    await log.grow(1)
    previous = await rotated(log)
    await log.grow(1)
    again = sequencer(log, log.key, previous, holder="one")
    await log.append(draft())
    assert await again.run_once() == 1
    assert len(open_note(await log.checkpoint(), [previous.verifier, log.key.verifier])[1]) == 1


async def test_a_new_log_has_nothing_to_hand_over(store: Store) -> None:
    log = Log(store)
    previous = log.rotate()
    await log.grow(2)
    assert open_checkpoint(await log.checkpoint(), [log.key.verifier]).size == 2
    assert len(open_note(await log.checkpoint(), [previous.verifier, log.key.verifier])[1]) == 1


async def test_invariant_8_a_rotation_that_somebody_slipped_in_is_not_signed(store: Store) -> None:
    """Whoever owns the database stages a rotation to a key of their own: no signature of ours covers it."""
    log = Log(store)
    await log.grow(2)
    theirs = SigningKey.generate(ORIGIN)
    said = KeyRotated(previous=log.key.verifier.vkey, following=theirs.verifier.vkey)
    await log.append(draft(), Draft(type=EntryType.KEY_ROTATED, subject="", data=said))
    with pytest.raises(LedgerError, match="is not ours"):
        await log.sequencer.run_once()
    assert await log.reader.size() == 2
