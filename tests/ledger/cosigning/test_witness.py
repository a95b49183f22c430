"""A witness never cosigns what does not extend all it cosigned before: whoever asks, however many at once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.testbed.witnesses import NAME, ORIGIN, Trees, request

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import ConfigError
from watchkeeper.ledger.cosigning.cosignature import CosigningKey, time_of
from watchkeeper.ledger.cosigning.witness import (
    KEY_FILE,
    Refusal,
    Witness,
    load_keys,
    logs_of,
    make_keys,
)
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note, open_note
from watchkeeper.ledger.tree.merkle import EMPTY_ROOT, verify_consistency

LOG = SigningKey.generate(ORIGIN)
KEY = CosigningKey.generate(NAME)
TREES = Trees(LOG)


@asynccontextmanager
async def witness(directory: Path, clock: ManualClock | None = None) -> AsyncIterator[Witness]:
    opened = Witness(directory, (KEY,), logs_of([LOG.verifier]), clock or ManualClock())
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


def size_of(answer: str | Refusal) -> tuple[int, int | None]:
    assert isinstance(answer, Refusal)
    return answer.status, answer.size


async def test_what_extends_the_last_checkpoint_is_cosigned_and_stored_whole(tmp_path: Path) -> None:
    clock = ManualClock()
    async with witness(tmp_path, clock) as one:
        for old, new in ((0, 3), (3, 3), (3, 8), (8, 9)):
            answer = await one.add(TREES.request(old, new))
            assert isinstance(answer, str), answer
            note = TREES.note(new) + answer
            read, signed = open_note(note, (LOG.verifier, KEY.public))
            assert signed == (LOG.verifier, KEY.public)
            assert time_of(read.signatures[1]) == int(clock.now().timestamp())
            assert await one.newest(hashlib.sha256(ORIGIN.encode()).hexdigest()) == note
        assert await one.newest(hashlib.sha256(b"other").hexdigest()) is None


async def test_each_refusal_has_the_status_of_the_protocol(tmp_path: Path) -> None:
    fork = Trees(LOG, fork_at=5)
    stranger = Trees(SigningKey.generate(ORIGIN))
    unknown = Trees(SigningKey.generate("another.example/log"))
    async with witness(tmp_path) as one:
        assert size_of(await one.add(unknown.request(0, 3))) == (404, None)
        assert size_of(await one.add(stranger.request(0, 3))) == (403, None)
        assert size_of(await one.add(TREES.request(0, 8, old_said=9))) == (400, None)
        assert size_of(await one.add(TREES.request(3, 8))) == (409, 0)
        assert size_of(await one.add(TREES.request(3, 8, old_said=0))) == (422, None), "a proof from nothing is empty"
        assert isinstance(await one.add(TREES.request(0, 8)), str)
        assert size_of(await one.add(TREES.request(0, 9))) == (409, 8)
        assert size_of(await one.add(TREES.request(0, 7))) == (409, 8)
        assert size_of(await one.add(TREES.request(7, 7))) == (409, 8)
        assert size_of(await one.add(fork.request(8, 8))) == (409, 8)
        assert size_of(await one.add(fork.request(8, 9))) == (422, None)
        assert size_of(await one.add(TREES.request(8, 9, proof=TREES.proof(7, 9)))) == (422, None)


async def test_an_empty_tree_has_the_empty_root(tmp_path: Path) -> None:
    async with witness(tmp_path) as one:
        wrong = request(LOG, Checkpoint(ORIGIN, 0, bytes(32)), 0)
        assert size_of(await one.add(wrong)) == (409, 0)
        assert isinstance(await one.add(request(LOG, Checkpoint(ORIGIN, 0, EMPTY_ROOT), 0)), str)


async def test_a_log_s_other_key_is_believed_while_one_takes_over_from_the_other(tmp_path: Path) -> None:
    rotated = SigningKey.generate(ORIGIN)
    logs = logs_of([LOG.verifier, rotated.verifier, LOG.verifier])
    assert logs == {ORIGIN: (LOG.verifier, rotated.verifier)}
    one = Witness(tmp_path, (KEY,), logs, ManualClock())
    await one.open()
    assert isinstance(await one.add(TREES.request(0, 3)), str)
    assert isinstance(await one.add(Trees(rotated).request(3, 8)), str)
    await one.close()


async def test_time_that_goes_back_is_refused(tmp_path: Path) -> None:
    clock = ManualClock()
    async with witness(tmp_path, clock) as one:
        assert isinstance(await one.add(TREES.request(0, 3)), str)
    earlier = ManualClock(clock.now().replace(year=clock.now().year - 1))
    async with witness(tmp_path, earlier) as one:
        assert size_of(await one.add(TREES.request(3, 8))) == (503, None)
    async with witness(tmp_path, clock) as one:
        assert isinstance(await one.add(TREES.request(3, 8)), str)


async def test_of_two_requests_at_once_from_one_size_the_smaller_is_never_the_last(tmp_path: Path) -> None:
    """The race of the specification, with two witnesses on one directory."""
    async with witness(tmp_path) as one, witness(tmp_path) as two:
        for turn in range(20):
            old, answers = 3 * turn, []
            pairs = ((one, old + 1), (two, old + 3), (one, old + 2), (two, old + 2))
            requests = (each.add(TREES.request(old, new)) for each, new in pairs)
            answers = list(zip(pairs, await asyncio.gather(*requests), strict=True))
            won = [new for (_, new), answer in answers if isinstance(answer, str)]
            assert len(won) == 1, "one alone goes on from that size"
            assert {size_of(answer) for _, answer in answers if not isinstance(answer, str)} == {(409, won[0])}
            if won[0] < old + 3:
                assert isinstance(await two.add(TREES.request(won[0], old + 3)), str)


moves = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=25
)


@given(moves)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_invariant_8_whatever_it_is_asked_what_a_witness_cosigns_is_one_growing_log(
    tmp_path: Path, stream: list[tuple[int, int, int, int]]
) -> None:
    """Requests from two forks of one log, honest or not; each answer that it gives extends all it gave before."""
    directory = tmp_path / os.urandom(8).hex()
    directory.mkdir()
    forks = (TREES, Trees(LOG, fork_at=10), Trees(LOG, fork_at=0))
    cosigned: list[tuple[int, Trees]] = [(0, TREES)]

    async def run() -> None:
        async with witness(directory) as one, witness(directory) as two:
            for old, new, fork, which in stream:
                said = min(old, new)
                answer = await (one, two)[which].add(forks[fork].request(said, new))
                if isinstance(answer, str):
                    cosigned.append((new, forks[fork]))
                elif answer.status == 409 and answer.size is not None and answer.size <= new:
                    again = await (one, two)[which].add(forks[fork].request(answer.size, new))
                    if isinstance(again, str):
                        cosigned.append((new, forks[fork]))

    asyncio.run(run())
    for (before, one), (after, other) in pairwise(cosigned):
        assert before <= after
        proof = other.proof(before, after) if before else ()
        assert verify_consistency(before, after, one.root(before), other.root(after), proof)


def test_keys_are_made_once_and_refused_when_others_may_read_them(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "w", NAME, post_quantum=True)
    assert [key.public for key in load_keys(tmp_path / "w")] == [key.public for key in made]
    assert (tmp_path / "w" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="cannot make the witness's key"):
        make_keys(tmp_path / "w", NAME, post_quantum=False)
    (tmp_path / "w" / KEY_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        load_keys(tmp_path / "w")
    with pytest.raises(ConfigError, match="at least one log"):
        logs_of([])


async def test_both_keys_of_a_witness_cosign(tmp_path: Path) -> None:
    keys = make_keys(tmp_path, NAME, post_quantum=True)
    one = Witness(tmp_path, keys, logs_of([LOG.verifier]), ManualClock())
    await one.open()
    answer = await one.add(TREES.request(0, 8))
    await one.close()
    assert isinstance(answer, str)
    publics = tuple(key.public for key in keys)
    assert open_note(TREES.note(8) + answer, publics)[1] == publics
    assert len(Note.from_text(TREES.note(8) + answer).signatures) == 3


@pytest.fixture
def killed(tmp_path: Path) -> subprocess.CompletedProcess[bytes]:
    """A witness that kills itself after it stored a cosignature, before anybody hears of it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.testbed.witnesses", str(tmp_path), LOG.to_secret().get_secret_value()],
        capture_output=True,
        timeout=60,
        check=False,
    )


async def test_killed_between_the_store_and_the_reply_it_goes_on_from_what_it_stored(
    tmp_path: Path, killed: subprocess.CompletedProcess[bytes]
) -> None:
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    fork = Trees(LOG, fork_at=5)
    async with witness(tmp_path) as one:
        assert size_of(await one.add(TREES.request(0, 8))) == (409, 8)
        assert size_of(await one.add(fork.request(8, 8))) == (409, 8), "it has signed the other one"
        assert isinstance(await one.add(TREES.request(8, 8)), str), "the reply that was lost is given again"
