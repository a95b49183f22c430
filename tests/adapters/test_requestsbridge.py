"""A session of `requests` on the wire: what it sends arrives as it was meant, and comes back as its client wants it."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import httpx
import pytest
import requests

from watchkeeper.adapters.exchange import Exchange
from watchkeeper.adapters.kit import KitSink
from watchkeeper.adapters.litellm.dialect import LITELLM
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.adapters.requestsbridge import carry
from watchkeeper.adapters.sdk import SdkTransport
from watchkeeper.adapters.wire import HttpError, Wire
from watchkeeper.core.clock import ManualClock
from watchkeeper.ledger.evidence.redaction import Redactor

JSON = {"content-type": "application/json"}


def carried(answer: Callable[[httpx.Request], httpx.Response]) -> tuple[requests.Session, SdkTransport]:
    clock = ManualClock()
    exchange = Exchange(LITELLM, clock, transport=httpx.MockTransport(answer))
    recorder = CallRecorder(KitSink(), Redactor(), clock)
    transport = SdkTransport(Wire("cloud:main", exchange, LITELLM, recorder, clock, reply_s=5.0))
    session = requests.Session()
    carry(session, transport)
    return session, transport


async def test_a_request_arrives_and_its_reply_is_whole() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text='{"a": "ü"}', headers={**JSON, "x-own": "1"})

    session, transport = carried(answer)

    def call() -> requests.Response:
        return session.post("http://cloud.test/things", params={"q": "1 2"}, json={"b": 1}, headers={"x-mine": "2"})

    found = await transport.read("thing.ask", call)
    assert (found.status_code, found.json(), found.headers["X-Own"]) == (200, {"a": "ü"}, "1")
    assert b"".join(found.iter_content(3)) == found.content
    [request] = seen
    assert (request.method, str(request.url), request.content) == (
        "POST",
        "http://cloud.test/things?q=1+2",
        b'{"b": 1}',
    )
    assert (request.headers["x-mine"], request.headers["host"]) == ("2", "cloud.test")
    await transport.close()


async def test_a_body_that_was_packed_on_the_way_is_not_unpacked_twice() -> None:
    body = gzip.compress(b'{"a": 1}')
    session, transport = carried(
        lambda _: httpx.Response(200, content=body, headers={**JSON, "content-encoding": "gzip"})
    )
    found = await transport.read("thing.get", lambda: session.get("http://cloud.test/thing"))
    assert found.json() == {"a": 1}
    await transport.close()


async def test_neither_the_environment_nor_a_redirect_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:1")
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(302, headers={"location": "http://elsewhere.test/"})

    session, transport = carried(answer)
    with pytest.raises(HttpError) as caught:
        await transport.read("thing.get", lambda: session.get("http://cloud.test/thing"))
    assert (caught.value.status, seen) == (302, ["http://cloud.test/thing"])
    await transport.close()
