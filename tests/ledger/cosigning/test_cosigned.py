"""Collected cosignatures on both databases: kept once, put together, judged by a policy, and verified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update
from tests.testbed.ledgers import Log
from tests.testbed.stores import tampering

from watchkeeper.ledger.checks.audit import Code
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.cosignature import COSIGNATURE_ML_DSA_44, CosigningKey
from watchkeeper.ledger.cosigning.quorum import Policy
from watchkeeper.ledger.exports.export import export, exported_cosigned, verify_export
from watchkeeper.ledger.exports.layout import COSIGNED
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.note import Note, open_note
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_cosignature
from watchkeeper.store.engine import Store

ONE, TWO = CosigningKey.generate("one.example/w"), CosigningKey.generate("two.example/w", COSIGNATURE_ML_DSA_44)
BOTH = Policy.from_text(
    f"witness 1 {ONE.public.vkey}\nwitness 2 {TWO.public.vkey}\ngroup g all 1 2\nquorum g\n", "policy"
)
FIRST = Policy.from_text(f"witness 1 {ONE.public.vkey}\nquorum 1\n", "policy")


@pytest.fixture
async def log(store: Store) -> Log:
    """Checkpoints of 2, 5 and 9 entries; one witness cosigned the first two, both the middle one, none the last."""
    opened = Log(store)
    await opened.grow(2, 3, 4)
    await cosign(opened, 2, ONE)
    await cosign(opened, 5, ONE, TWO)
    return opened


async def cosign(log: Log, size: int, *keys: CosigningKey) -> None:
    async with log.store.write() as tx:
        query = ledger_checkpoint.select().where(ledger_checkpoint.c.size == size)
        text = Note.from_text((await tx.execute(query)).one().body).text
        for key in keys:
            at = int(log.clock.now().timestamp())
            await cosigned.put(tx, size, key.public, key.cosign(text, at), log.clock.now())


def size_of(note: str | None) -> int:
    assert note is not None
    return Checkpoint.from_text(Note.from_text(note).text).size


async def test_the_newest_that_a_policy_calls_valid_comes_with_its_cosignatures(log: Log) -> None:
    known = [log.key.verifier]
    assert size_of(await log.reader.cosigned()) == 9
    assert size_of(await log.reader.cosigned(BOTH, known)) == 5
    assert size_of(await log.reader.cosigned(Policy((), (), (), ""), known)) == 9
    note = await log.reader.cosigned(BOTH, known)
    assert note is not None
    assert len(open_note(note, (log.key.verifier, ONE.public, TWO.public))[1]) == 3
    await cosign(log, 9, ONE)
    assert size_of(await log.reader.cosigned(FIRST, known)) == 9
    assert size_of(await log.reader.cosigned(BOTH, known)) == 5
    newest = await log.reader.cosigned()
    assert newest is not None
    assert len(Note.from_text(newest).signatures) == 2
    assert await log.reader.cosigned(BOTH) is None, "no log is known"


async def test_what_is_kept_stays_and_is_found_page_by_page(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosigned, "PAGE", 1)
    await cosign(log, 9, TWO)
    async with log.store.read() as tx:
        before = (await tx.execute(ledger_cosignature.select())).all()
    await cosign(log, 5, ONE, TWO)
    async with log.store.read() as tx:
        assert (await tx.execute(ledger_cosignature.select())).all() == before
        assert [[each.size for each in page] async for page in cosigned.pages(tx)] == [[2], [5], [9]]
        assert [[each.size for each in page] async for page in cosigned.pages(tx, end=5, newest_first=True)] == [
            [5],
            [2],
        ]
        assert (await cosigned.newest_of(tx, ONE.public.vkey))[0] == 5
        assert await cosigned.newest_of(tx, "nobody") == (0, None)
    assert size_of(await log.reader.cosigned(BOTH, [log.key.verifier])) == 5


async def test_an_empty_log_has_no_checkpoint_at_all(store: Store) -> None:
    log = Log(store)
    assert await log.reader.cosigned() is None
    assert await log.reader.cosigned(BOTH, [log.key.verifier]) is None
    assert (await log.verify()).ok


async def test_a_cosignature_that_was_changed_is_found_with_its_place_and_never_counts(log: Log) -> None:
    assert (await log.verify()).ok
    async with tampering(log.store) as tx:
        at_two = (await tx.execute(ledger_cosignature.select().where(ledger_cosignature.c.size == 2))).one()
        ours = (ledger_cosignature.c.size == 5) & (ledger_cosignature.c.vkey == ONE.public.vkey)
        await tx.execute(update(ledger_cosignature).where(ours).values(line=at_two.line))
    report = await log.verify()
    assert [(each.where, each.code) for each in report.problems] == [
        ("cosignature 5 one.example/w", Code.BAD_COSIGNATURE)
    ]
    assert await log.reader.cosigned(BOTH, [log.key.verifier]) is None
    assert size_of(await log.reader.cosigned(FIRST, [log.key.verifier])) == 2


async def test_a_key_that_stands_in_the_database_alone_is_not_believed(log: Log) -> None:
    """Whoever owns the database puts a key and a cosignature of their own there."""
    mine = CosigningKey.generate("one.example/w")
    await cosign(log, 9, mine)
    assert (await log.verify()).ok, "it is a cosignature, of somebody"
    assert size_of(await log.reader.cosigned(FIRST, [log.key.verifier])) == 5
    async with tampering(log.store) as tx:
        theirs = ledger_cosignature.c.vkey == mine.public.vkey
        await tx.execute(update(ledger_cosignature).where(theirs).values(vkey=ONE.public.vkey))
    assert size_of(await log.reader.cosigned(FIRST, [log.key.verifier])) == 5
    assert [each.where for each in (await log.verify()).problems] == ["cosignature 9 one.example/w"]


@pytest.mark.parametrize("line", ["", "nonsense", "— a b\n", "— one.example/w AAAAAAAA\n"])
async def test_lines_that_cannot_be_read_are_found_and_do_no_harm(log: Log, line: str) -> None:
    async with tampering(log.store) as tx:
        row = {"size": 9, "vkey": "no\nkey", "line": line, "at": log.clock.now()}
        await tx.execute(insert(ledger_cosignature).values(row))
    assert [each.where for each in (await log.verify()).problems] == [r"cosignature 9 no\nkey"]
    newest = await log.reader.cosigned()
    assert newest is not None
    assert open_note(newest, [log.key.verifier])


async def test_a_cosignature_of_a_checkpoint_that_is_gone_is_found(log: Log) -> None:
    async with tampering(log.store) as tx:
        await tx.execute(delete(ledger_checkpoint).where(ledger_checkpoint.c.size == 2))
    assert "cosignature 2 one.example/w" in [each.where for each in (await log.verify()).problems]


async def test_an_export_takes_its_cosignatures_with_it(log: Log, tmp_path: Path) -> None:
    directory, vkey = tmp_path / "export", log.key.verifier.vkey
    await export(log.reader, directory, vkey)
    assert verify_export(directory, vkey).ok
    found = list(exported_cosigned(directory))
    assert [each.size for each in found] == [2, 5]
    newest = cosigned.newest_in(reversed(found), BOTH, [log.key.verifier])
    assert size_of(newest) == 5
    report = verify_export(directory, vkey, newest)
    assert (report.ok, report.rollback) == (True, "excluded")


async def test_an_export_s_cosignatures_are_held_against_its_checkpoints(log: Log, tmp_path: Path) -> None:
    directory, vkey = tmp_path / "export", log.key.verifier.vkey
    await export(log.reader, directory, vkey)
    path = directory / COSIGNED
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    def problems(*changed: object) -> list[str]:
        path.write_text("".join(json.dumps(line) + "\n" for line in changed))
        return [each.where for each in verify_export(directory, vkey).problems]

    assert problems(*lines) == []
    assert problems(lines[1]) == []
    assert problems(lines[0] | {"size": 3}) == ["cosigned 3"]
    assert problems(lines[0] | {"checkpoint": lines[1]["checkpoint"]}) == ["cosigned 2"]
    swapped = lines[0] | {"cosignatures": lines[1]["cosignatures"]}
    assert len(problems(swapped)) == 2
    assert problems("nonsense") == ["cosigned 0"]
    path.unlink()
    assert verify_export(directory, vkey).ok, "exports of earlier versions have no such file"
