"""One exchange and its end: what each status and each broken reply means for a read and for a write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest
from pydantic import SecretStr
from tests.testbed.ports import LOOPBACK

from watchkeeper.adapters.exchange import MAX_REPLY_BYTES
from watchkeeper.adapters.http import Credential, HttpTarget, WriteCall
from watchkeeper.adapters.kit import CLAIM, INCIDENT, KitSink, sure
from watchkeeper.adapters.litellm.dialect import LITELLM
from watchkeeper.adapters.recorder import CallRecorder, Reply, under
from watchkeeper.adapters.wire import MAX_RETRY_AFTER_S, HttpError
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import AdapterError
from watchkeeper.ledger.evidence.redaction import Redactor

KEY = "sk-the-key-of-the-http-tests"
Answer = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def target(
    answer: Answer | httpx.AsyncHTTPTransport, clock: ManualClock | None = None, url: str = "http://gateway.test"
) -> AsyncIterator[HttpTarget]:
    clock = clock or ManualClock()
    made = HttpTarget(
        "litellm:main",
        url,
        Credential(SecretStr(KEY)),
        LITELLM,
        CallRecorder(KitSink(), Redactor(), clock),
        clock,
        reply_s=5.0,
        jitter=lambda: 0.0,
        transport=answer if isinstance(answer, httpx.AsyncHTTPTransport) else httpx.MockTransport(answer),
    )
    try:
        yield made
    finally:
        await made.close()


def json_reply(status: int, **headers: str) -> Answer:
    return lambda _: httpx.Response(status, json={"error": {"message": "x"}}, headers=headers)


async def write(made: HttpTarget, clock: ManualClock | None = None) -> Reply:
    deadline = (clock or ManualClock()).now() + timedelta(seconds=5)
    with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
        return await made.write(
            WriteCall("key.update", "POST", "/key/update", {}), deadline, headers={}, sending=lambda: None
        )


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (403, False), (404, False), (409, False), (422, False), (307, False), (503, True)],
)
async def test_a_read_that_is_refused_says_what_to_do(status: int, retryable: bool) -> None:
    async with target(json_reply(status)) as made:
        with pytest.raises(HttpError) as raised:
            await made.read("key.info", "/key/info")
    assert raised.value.status == status
    assert raised.value.retryable is retryable
    assert raised.value.cause
    assert raised.value.next_step
    assert KEY not in raised.value.diagnostics()


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_invariant_4_a_write_that_ends_in_5xx_is_unknown(status: int) -> None:
    async with target(json_reply(status)) as made:
        assert await write(made) == Reply(
            "unknown", f"http_{status}", status, b'{"error":{"message":"x"}}', "application/json"
        )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_write_that_is_refused_was_not_done(status: int) -> None:
    async with target(json_reply(status)) as made:
        with pytest.raises(HttpError):
            await write(made)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"<html>sign in</html>", "text/html"),
        (b"<html>sign in</html>", "application/json"),
        (b'{"key": "cut', "application/json"),
        (b"{}", "text/plain"),
        (b" " * (MAX_REPLY_BYTES + 1), "application/json"),
    ],
    ids=["html", "html-as-json", "cut", "wrong-type", "too-large"],
)
async def test_an_unreadable_answer(body: bytes, media_type: str) -> None:
    async with target(lambda _: httpx.Response(200, content=body, headers={"content-type": media_type})) as made:
        with pytest.raises(AdapterError) as raised:
            await made.read("key.info", "/key/info")
        assert raised.value.retryable
        reply = await write(made)
        assert (reply.result, reply.code) == ("unknown", "bad_reply")


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (httpx.ReadTimeout("x"), "unknown"),
        (httpx.WriteError("x"), "unknown"),
        (httpx.RemoteProtocolError("x"), "unknown"),
        (httpx.ConnectError("x"), "not_sent"),
        (httpx.ConnectTimeout("x"), "not_sent"),
    ],
)
async def test_a_broken_connection(error: httpx.TransportError, result: str) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise error

    async with target(broken) as made:
        if result == "not_sent":
            with pytest.raises(AdapterError) as raised:
                await write(made)
            assert raised.value.retryable
        else:
            assert (await write(made)).result == result


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7.0), ("soon", 5.0), ("99999", MAX_RETRY_AFTER_S), ("nan", 5.0), ("-3", 0.0), ("", 5.0)],
)
async def test_retry_after_is_bounded(header: str, wait: float) -> None:
    async with target(json_reply(429, **{"retry-after": header})) as made:
        with pytest.raises(HttpError) as raised:
            await made.read("key.info", "/key/info")
    assert raised.value.retryable
    assert raised.value.retry_after_s == wait


async def test_retry_after_may_be_a_date() -> None:
    clock = ManualClock()
    until = format_datetime(clock.now() + timedelta(seconds=40), usegmt=True)
    async with target(json_reply(429, **{"retry-after": until}), clock) as made:
        with pytest.raises(HttpError) as raised:
            await made.read("key.info", "/key/info")
        assert raised.value.retry_after_s == 40
        with pytest.raises(AdapterError, match="asked us to wait"):
            await made.read("key.info", "/key/info")


async def test_the_credential_is_sent_and_not_shown() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={})

    async with target(answer) as made:
        assert await made.read("key.info", "/key/info") == {}
        assert KEY not in repr(made) + repr(vars(made))
    assert seen == [f"Bearer {KEY}"]


async def test_invariant_2_what_connects_too_late_sends_not_a_byte() -> None:
    """The deadline is read once more between connection and first byte: over a real socket, whose other end tells."""
    heard: list[bytes] = []
    closed = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()
        closed.set()

    server = await asyncio.start_server(listen, LOOPBACK, 0)
    clock = ManualClock()
    url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with target(_Slow(lambda: clock.advance(5)), clock, url) as made:
            assert await write(made, clock) == Reply("not_sent", "deadline_passed")
        await closed.wait()
    assert heard == [b""]


class _Slow(httpx.AsyncHTTPTransport):
    """Connects for real, and takes its time."""

    def __init__(self, connecting: Callable[[], None]) -> None:
        super().__init__()
        self._connecting = connecting

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        look = request.extensions["trace"]

        async def connected_late(event: str, info: object) -> None:
            if event.startswith("connection.connect") and event.endswith("complete"):
                self._connecting()
            await look(event, info)

        request.extensions["trace"] = connected_late
        return await super().handle_async_request(request)
