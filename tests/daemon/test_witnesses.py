"""Asking witnesses: what they sign is kept once it verifies, nonsense holds up nothing, and a memory that is not ours
stops us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from tests.testbed.ledgers import Log
from tests.testbed.witnesses import NAME, Trees

from watchkeeper.agents.outbox import Outbox, SinkError
from watchkeeper.api.witness import create
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import DisputedError
from watchkeeper.daemon.witnessclient import Book, WitnessClient
from watchkeeper.daemon.witnesses import Alarm, Witnesses
from watchkeeper.daemon.witnesswire import MAX_REPLY_BYTES, WitnessConfig
from watchkeeper.ledger.cosigning.cosignature import CosigningKey
from watchkeeper.ledger.cosigning.quorum import Policy
from watchkeeper.ledger.cosigning.witness import Witness, logs_of
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.note import Note, open_note
from watchkeeper.store.engine import Store

KEY = CosigningKey.generate(NAME)
Answer = Callable[[httpx.Request], httpx.Response]


def config(**given: object) -> WitnessConfig:
    return WitnessConfig.model_validate(
        {"name": "one", "url": "http://witness.example/w", "vkey": KEY.public.vkey} | given
    )


@dataclass
class Asked:
    """A log and one witness; `answer` stands in the witness's place while it is set."""

    log: Log
    witness: Witness
    client: WitnessClient
    answer: Answer | None = None
    calls: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.log.clock, ManualClock)
        return self.log.clock

    async def cosigned(self) -> int:
        """The size of the newest checkpoint that the client keeps a cosignature of."""
        return (await Witnesses([self.client], self.client.book, None).report()).witnesses[0].cosigned_size

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.answer is not None:
            return self.answer(request)
        path = request.url.path.removeprefix("/w")
        transport = httpx.ASGITransport(app=create(self.witness), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://inner") as inner:
            reply = await inner.request(request.method, path, content=request.content)
        return httpx.Response(reply.status_code, content=reply.content, headers=reply.headers)


@pytest.fixture
async def asked(store: Store, tmp_path: Path) -> AsyncIterator[Asked]:
    log = Log(store)
    (tmp_path / "w").mkdir()
    witness = Witness(tmp_path / "w", (KEY,), logs_of([log.key.verifier]), log.clock)
    await witness.open()
    async with _client(log, witness) as opened:
        yield opened
    await witness.close()


@asynccontextmanager
async def _client(log: Log, witness: Witness) -> AsyncIterator[Asked]:
    asked: Asked

    async def handle(request: httpx.Request) -> httpx.Response:
        reply = await asked.handle(request)
        if not reply.is_stream_consumed:
            return reply
        stream = httpx.ByteStream(reply.content)  # still to be read, as from a wire
        return httpx.Response(reply.status_code, headers=reply.headers, stream=stream)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        told: list[str] = []

        async def tell(name: str) -> None:
            told.append(name)

        book = Book(log.store, log.reader, (log.key.verifier,), tell)
        asked = Asked(log, witness, WitnessClient(config(), book, http, log.clock), told=told)
        yield asked


async def test_each_newest_checkpoint_is_cosigned_once(asked: Asked) -> None:
    await asked.client.turn()
    assert asked.calls == 0, "there is nothing to sign yet"
    for size, batch in ((3, 3), (300, 297), (301, 1)):
        await asked.log.grow(batch)
        await asked.client.turn()
        assert await asked.cosigned() == size
        calls = asked.calls
        await asked.client.turn()
        assert asked.calls == calls
        note = await asked.log.reader.cosigned()
        assert note is not None
        assert open_note(note, (asked.log.key.verifier, KEY.public))[1] == (asked.log.key.verifier, KEY.public)
    assert (asked.client.failures, asked.client.trouble) == (0, "")


async def test_a_witness_that_knows_more_of_us_than_we_remember_says_from_where_to_go_on(asked: Asked) -> None:
    """As after a reply that was lost, or a cosignature that another replica has."""
    await asked.log.grow(4)
    checkpoint = Checkpoint.from_text(Note.from_text(await asked.log.checkpoint()).text)
    first = Trees(asked.log.key).request(0, 0)
    shown = type(first)(0, (), Note.from_text(sign_checkpoint(checkpoint, asked.log.key)))
    assert isinstance(await asked.witness.add(shown), str)
    await asked.log.grow(5)
    await asked.client.turn()
    assert await asked.cosigned() == 9
    assert asked.calls == 2


async def test_a_witness_that_forgot_is_shown_the_log_from_its_beginning(asked: Asked, tmp_path: Path) -> None:
    await asked.log.grow(4)
    await asked.client.turn()
    (tmp_path / "new").mkdir()
    asked.witness = Witness(tmp_path / "new", (KEY,), logs_of([asked.log.key.verifier]), asked.clock)
    await asked.witness.open()
    await asked.log.grow(5)
    await asked.client.turn()
    assert await asked.cosigned() == 9
    await asked.witness.close()


def _text(status: int, text: str, kind: str = "text/plain") -> Answer:
    return lambda request: httpx.Response(status, text=text, headers={"content-type": kind})


def _down(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def _foreign_key(request: httpx.Request) -> httpx.Response:
    text = request.content.decode().partition("\n\n")[2].partition("\n\n")[0] + "\n"
    return httpx.Response(200, text=CosigningKey.generate(NAME).cosign(text, 5).to_text())


def _of_another_tree(request: httpx.Request) -> httpx.Response:
    other = Checkpoint("log.example.com/test", 4, bytes(32)).to_text()
    return httpx.Response(200, text=KEY.cosign(other, 5).to_text())


NONSENSE: dict[str, tuple[Answer, str]] = {
    "down": (_down, "ConnectError"),
    "500": (_text(500, "oops"), "http_500"),
    "302": (_text(302, ""), "http_302"),
    "404": (_text(404, "unknown log"), "http_404"),
    "403": (_text(403, "bad signature"), "http_403"),
    "html": (_text(200, "<html><body>Welcome</body></html>", "text/html"), "not of signature lines"),
    "empty": (_text(200, ""), "not of signature lines"),
    "truncated": (_text(200, "— witness.example.com/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79"), "not of signature lines"),
    "huge": (_text(200, "x" * (MAX_REPLY_BYTES + 1)), "too long"),
    "other key": (_foreign_key, "no cosignature by its configured key"),
    "other tree": (_of_another_tree, "does not verify"),
    "409 of a proxy": (_text(409, "Conflict"), "http_409 without a size"),
    "409 without a number": (_text(409, "ten\n", "text/x.tlog.size"), "http_409 without a size"),
    "409 for ever": (_text(409, "0\n", "text/x.tlog.size"), "asks for the size that it was given"),
    "422 of a proxy": (_text(422, "{}", "application/json"), "http_422"),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_a_witness_that_does_not_do_as_asked_is_asked_again_later_and_the_log_goes_on(
    asked: Asked, name: str
) -> None:
    asked.answer, why = NONSENSE[name]
    await asked.log.grow(4)
    await asked.client.turn()
    assert why in asked.client.trouble
    assert asked.client.dispute is None
    calls = asked.calls
    await asked.client.turn()
    assert asked.calls == calls, "a pause comes first"
    await asked.log.grow(2)
    asked.answer = None
    asked.clock.advance(3)
    await asked.client.turn()
    assert await asked.cosigned() == 6
    assert (asked.client.failures, asked.client.trouble) == (1, "")


async def test_pauses_grow_to_a_bound(asked: Asked) -> None:
    asked.answer = _down
    await asked.log.grow(4)
    pauses = []
    for _ in range(12):
        await asked.client.ask(again=False)
        pauses.append(asked.client._next_try - asked.clock.monotonic())
    assert 1.6 <= pauses[0] <= 2.4
    assert 12.8 <= pauses[3] <= 19.2
    assert max(pauses) <= 360


async def test_a_witness_that_drips_is_given_up_in_time(asked: Asked) -> None:
    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.Event().wait()

    asked.answer = lambda request: httpx.Response(200, stream=Dripping())
    asked.client.config = config(timeout_s=0.05)
    await asked.log.grow(4)
    await asked.client.turn()
    assert asked.client.trouble == "TimeoutError"


async def test_invariant_11_a_witness_that_has_cosigned_more_than_there_is_stops_us(asked: Asked) -> None:
    asked.answer = _text(409, "500\n", "text/x.tlog.size")
    await asked.log.grow(4)
    with pytest.raises(DisputedError, match="the witness one has cosigned 500 entries of this log, and there are 4"):
        await asked.client.turn()
    assert asked.client.dispute is not None
    witnesses = Witnesses([asked.client], asked.client.book, None)
    with pytest.raises(DisputedError):
        await witnesses.vouch()
    report = await witnesses.report()
    assert (report.witnesses[0].disputed, report.witnesses[0].disputes) == (True, 2)
    asked.answer = _down
    with pytest.raises(DisputedError):
        await witnesses.vouch()
    asked.answer = None
    await witnesses.vouch()
    assert (await witnesses.report()).witnesses[0].disputed is False
    assert await asked.cosigned() == 4


async def test_invariant_11_a_witness_that_saw_another_tree_stops_us(asked: Asked) -> None:
    """The log was restored from an older copy, and written on: both trees bear its signature."""
    fork = Trees(asked.log.key)
    assert isinstance(await asked.witness.add(fork.request(0, 3)), str)
    await asked.log.grow(3)
    with pytest.raises(DisputedError, match="another tree of 3 entries"):
        await asked.client.turn()
    await asked.log.grow(5)
    with pytest.raises(DisputedError, match="another tree of 3 entries"):
        await asked.client.turn()
    assert await asked.cosigned() == 0


async def test_invariant_11_an_empty_database_in_the_place_of_a_log_is_found_before_anything_is_signed(
    asked: Asked,
) -> None:
    witnesses = Witnesses([asked.client], asked.client.book, None)
    await witnesses.look()
    assert isinstance(await asked.witness.add(Trees(asked.log.key).request(0, 3)), str)
    with pytest.raises(DisputedError, match="has cosigned 3 entries of this log, and there are 0"):
        await witnesses.look()


async def test_a_422_alone_does_not_stop_us_but_what_a_witness_shows_does(asked: Asked) -> None:
    await asked.log.grow(5)
    shown = sign_checkpoint(Trees(asked.log.key).checkpoint(9), asked.log.key)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422) if request.method == "POST" else httpx.Response(200, text=shown)

    asked.answer = answer
    with pytest.raises(DisputedError, match="has cosigned 9 entries"):
        await asked.client.turn()
    assert asked.told == []
    shown = shown.replace("\n9\n", "\n8\n")
    for _ in range(3):
        await asked.client.ask(again=True)
    assert asked.client.trouble == "http_422", "what the log has not signed proves nothing"
    assert asked.told == ["one"], "people hear of it, once"


async def test_people_are_told_of_a_witness_that_refuses_through_the_outbox(asked: Asked) -> None:
    outbox = Outbox(asked.log.store, asked.clock, (Nowhere(),))
    await Alarm(asked.log.store, outbox, asked.clock, "production")("one")
    assert (await outbox.status()).waiting == 1


class Nowhere:
    name = "nowhere"

    async def send(self, dedup: str, body: str) -> None:
        raise SinkError("nobody is there")


async def test_a_size_that_another_replica_has_just_shown_is_no_dispute(asked: Asked) -> None:
    await asked.log.grow(4)
    grown = asyncio.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(409, text="6\n", headers={"content-type": "text/x.tlog.size"})

    consistency = asked.log.reader.consistency

    async def and_then_it_grows(old: int, new: int | None = None) -> object:
        proof = await consistency(old, new)
        if not grown.is_set():
            grown.set()
            await asked.log.grow(2)
        return proof

    asked.log.reader.consistency = and_then_it_grows  # type: ignore[method-assign,assignment]
    asked.answer = answer
    await asked.client.turn()
    assert asked.client.dispute is None
    assert asked.client.trouble == "another replica was faster"


async def test_two_replicas_at_once_keep_one_cosignature(asked: Asked) -> None:
    await asked.log.grow(4)
    async with _client(asked.log, asked.witness) as other:
        await asyncio.gather(asked.client.turn(), other.client.turn())
        assert await asked.cosigned() == await other.cosigned() == 4
        assert asked.client.dispute is None is other.client.dispute


async def test_a_start_waits_for_no_witness_for_long(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkeeper.daemon.witnesses.LOOK_S", 0.05)

    class Silent(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

    asked.answer = lambda request: httpx.Response(200, stream=Silent())
    await asked.log.grow(4)
    async with asyncio.timeout(5):
        await Witnesses([asked.client], asked.client.book, None).look()
    assert await asked.cosigned() == 0


async def test_the_report_says_whether_the_quorum_is_met(asked: Asked) -> None:
    policy = Policy.from_text(f"witness w {KEY.public.vkey}\nquorum w\n", "policy")
    witnesses = Witnesses([asked.client], asked.client.book, policy)
    await asked.log.grow(4)
    assert (await witnesses.report()).quorum == "not_met"
    await asked.client.turn()
    await asked.log.grow(2)
    report = await witnesses.report()
    assert (report.quorum, report.quorum_size, report.size) == ("met", 4, 6)
    assert (await Witnesses([], asked.client.book, None).report()).quorum == "no_policy"


@pytest.mark.parametrize(
    "given",
    [{"url": "ftp://x"}, {"url": "http://user@x"}, {"url": "http://x:port"}, {"vkey": "nonsense"}, {"name": "a b"}],
)
def test_settings_of_a_witness_are_checked(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        config(**given)
