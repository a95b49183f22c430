"""Official clients on the wire: what they send is recorded once, and its end is told as it is for our own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from watchkeeper.adapters.exchange import Exchange
from watchkeeper.adapters.kit import CLAIM, INCIDENT, KitSink, sure
from watchkeeper.adapters.litellm.dialect import LITELLM
from watchkeeper.adapters.recorder import CallRecorder, Reply, under
from watchkeeper.adapters.sdk import MAX_EXCHANGES, SdkTransport
from watchkeeper.adapters.wire import HttpError, Wire
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import AdapterError
from watchkeeper.ledger.evidence.redaction import Redactor

SECRET = "a-signature-of-the-client"


class Client:
    """A blocking client as others write them: it signs, sends by its transport, and wraps whatever comes out."""

    def __init__(self, transport: SdkTransport, tries: int = 1) -> None:
        self.transport, self.tries = transport, tries

    def get(self, path: str = "/thing") -> str:
        return self._call("GET", path)

    def put(self) -> str:
        return self._call("PUT", "/thing")

    def _call(self, method: str, path: str) -> str:
        for left in reversed(range(self.tries)):
            try:
                answer = self.transport.exchange(method, f"http://cloud.test{path}", {"authorization": SECRET}, b"{}")
                return answer.body.decode()
            except Exception as error:
                if not left:
                    raise RuntimeError("the client wraps everything") from error
        raise AssertionError


@asynccontextmanager
async def client(
    answer: Callable[[httpx.Request], httpx.Response], tries: int = 1
) -> AsyncIterator[tuple[Client, SdkTransport, KitSink, ManualClock]]:
    clock, sink = ManualClock(), KitSink()
    exchange = Exchange(LITELLM, clock, transport=httpx.MockTransport(answer))
    recorder = CallRecorder(sink, Redactor(), clock)
    sdk = SdkTransport(Wire("cloud:main", exchange, LITELLM, recorder, clock, reply_s=5.0))
    try:
        yield Client(sdk, tries), sdk, sink, clock
    finally:
        await sdk.close()


def replies(status: int, text: str = "{}") -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, text=text, headers={"content-type": "application/json"})


async def write(made: Client, sdk: SdkTransport, clock: ManualClock, within_s: float = 5.0) -> tuple[Reply, list[str]]:
    sent: list[str] = []
    with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
        deadline = clock.now() + timedelta(seconds=within_s)
        reply = await sdk.write("thing.put", made.put, deadline, lambda: sent.append("sent"))
    return reply, sent


async def test_a_read_returns_what_the_client_made_of_it_and_is_recorded_for_its_incident() -> None:
    async with client(replies(200, '{"a": 1}')) as (made, sdk, sink, _):
        with under(incident=INCIDENT):
            assert await sdk.read("thing.get", made.get) == '{"a": 1}'
        assert [(call.operation, call.result, call.incident) for call in sink.calls] == [("thing.get", "ok", INCIDENT)]
        assert not any(SECRET.encode() in body for body in sink.bodies)


async def test_a_write_is_sent_once_under_its_claim() -> None:
    async with client(replies(200)) as (made, sdk, sink, clock):
        reply, sent = await write(made, sdk, clock)
        assert (reply.result, reply.code, sent) == ("ok", "http_200", ["sent"])
        assert [call.claim for call in sink.calls] == [CLAIM]


async def test_invariant_4_a_client_that_retries_sends_nothing_twice() -> None:
    seen: list[httpx.Request] = []

    def broken(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(503)

    async with client(broken, tries=5) as (made, sdk, _, clock):
        reply, _ = await write(made, sdk, clock)
        assert (reply.result, reply.code) == ("unknown", "http_503")
        assert len(seen) == 1


async def test_a_refusal_is_an_error_with_its_status_whatever_the_client_wraps_it_in() -> None:
    async with client(replies(403)) as (made, sdk, _, clock):
        for call in (sdk.read("thing.get", made.get), write(made, sdk, clock)):
            with pytest.raises(HttpError) as caught:
                await call
            assert (caught.value.status, caught.value.retryable) == (403, False)


async def test_after_the_deadline_nothing_is_sent() -> None:
    async with client(replies(200)) as (made, sdk, sink, clock):
        reply, sent = await write(made, sdk, clock, within_s=-1)
        assert (reply.result, reply.code, sent) == ("not_sent", "deadline_passed", [])
        assert sink.calls[0].result == "not_sent"


async def test_a_list_without_end_is_refused() -> None:
    async with client(replies(200)) as (made, sdk, _, _clock):

        def pages() -> None:
            while True:
                made.get()

        with pytest.raises(AdapterError, match="more than it may"):
            await sdk.read("thing.list", pages)
        assert MAX_EXCHANGES < 100


async def test_a_client_that_fails_by_itself_is_named_without_its_words() -> None:
    async with client(replies(200)) as (_, sdk, _sink, clock):

        def no_credential() -> None:
            raise ValueError(f"no luck with {SECRET}")

        with pytest.raises(AdapterError, match="ValueError") as caught:
            await sdk.read("thing.get", no_credential)
        assert SECRET not in str(caught.value) + caught.value.diagnostics()
        with (
            pytest.raises(AdapterError, match="made no request"),
            under(incident=INCIDENT, claim=CLAIM, may_send=sure),
        ):
            await sdk.write("thing.put", lambda: None, clock.now() + timedelta(seconds=5), lambda: None)
