"""The poller against recorded replies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from pydantic import JsonValue, SecretStr
from tests.signals.wire_samples import AT, KEY, Row, failed, served

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import InputError, UnavailableError, WatchkeeperError
from watchkeeper.core.signals import Call, Sample
from watchkeeper.core.subjects import EdgeSource
from watchkeeper.signals import litellm
from watchkeeper.signals.litellm import LiteLLMPoller, LiteLLMSource, Polled

ADMIN_KEY = "sk-the-admin-key"
STATE_LINE = 'litellm_deployment_state{litellm_model_name="fake",model_id="xa"} 1.0\n'

MODELS: list[JsonValue] = [
    {
        "model_name": "gpt-x",
        "litellm_params": {"model": "openai/fake", "api_base": f"http://127.0.0.1:{port}/v1", "weight": 1},
        "model_info": {"id": name, "db_model": True, "litellm_provider": "openai", "mode": None},
    }
    for name, port in (("xa", 1), ("xb", 2))
]


class Gateway:
    """Answers as recorded; tests change what it holds."""

    def __init__(self) -> None:
        self.db = "connected"
        self.rows: list[Row] = []
        self.metrics: str | int = STATE_LINE
        self.keys: list[JsonValue] = [
            {"token": KEY, "key_alias": "q1", "team_id": "t1", "metadata": {}},
            {"token": "f" * 64, "key_alias": None, "team_id": None},
        ]
        self.overrides: dict[str, Callable[[httpx.Request], httpx.Response]] = {}
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path, query = request.url.path, request.url.params
        if path in self.overrides:
            return self.overrides[path](request)
        if path == "/health/readiness":
            return httpx.Response(200, json={"status": "healthy", "db": self.db})
        if request.headers.get("authorization") != f"Bearer {ADMIN_KEY}":
            return httpx.Response(401, json={"error": {"message": "no"}})
        if path == "/model/info":
            return httpx.Response(200, json={"data": MODELS})
        if path == "/key/list":
            page = int(query["page"])
            return httpx.Response(200, json={"keys": self.keys[page - 1 : page], "total_pages": len(self.keys)})
        if path == "/metrics/":
            return (
                httpx.Response(self.metrics)
                if isinstance(self.metrics, int)
                else httpx.Response(200, text=self.metrics)
            )
        assert path == "/spend/logs/v2"
        return httpx.Response(200, json=self.page(query))

    def page(self, query: httpx.QueryParams) -> dict[str, JsonValue]:
        since, until = (query[name].replace(" ", "T") for name in ("start_date", "end_date"))
        rows = sorted((row for row in self.rows if since <= str(row["startTime"]) <= until), key=started)
        size, page = int(query["page_size"]), int(query["page"])
        pages = max(1, -(-len(rows) // size))
        return {"data": [*rows[(page - 1) * size : page * size]], "total_pages": pages, "total": len(rows)}


def started(row: Row) -> str:
    return str(row["startTime"])


def second(number: int) -> str:
    return (AT + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000+00:00")


def poller(gateway: Gateway, clock: ManualClock | None = None, name: str = "main") -> LiteLLMPoller:
    source = LiteLLMSource(name=name, base_url="http://gateway/", admin_key=SecretStr(ADMIN_KEY))
    return LiteLLMPoller(source, httpx.AsyncClient(transport=httpx.MockTransport(gateway)), clock or ManualClock())


def calls(polled: Polled) -> list[str]:
    return [signal.id for signal in polled.signals if isinstance(signal, Call)]


async def test_a_poll_tells_calls_states_and_links() -> None:
    gateway = Gateway()
    gateway.rows = [
        served("ok"),
        failed("bad", {"error_class": "InternalServerError", "normalized_error": "500_X"}, api_base=""),
    ]
    polled = await poller(gateway).poll()
    told = {signal.id: signal for signal in polled.signals if isinstance(signal, Call)}
    assert {name: call.provider for name, call in told.items()} == {"ok": "127.0.0.1:2", "bad": "127.0.0.1:1"}
    samples = [signal for signal in polled.signals if isinstance(signal, Sample)]
    assert [(str(sample.subject), sample.value) for sample in samples] == [("deployment:xa", 1.0)]
    assert {(str(edge.source), str(edge.target)) for edge in polled.edges} == {
        ("model:gpt-x", "deployment:xa"),
        ("model:gpt-x", "deployment:xb"),
        ("deployment:xa", "provider:127.0.0.1:1"),
        ("deployment:xb", "provider:127.0.0.1:2"),
        (f"key:{KEY}", "team:t1"),
    }
    assert {edge.known_from for edge in polled.edges} == {EdgeSource.INVENTORY}
    assert "a person" not in repr(polled)


async def test_the_inventory_is_taken_now_and_then() -> None:
    gateway, clock = Gateway(), ManualClock()
    polling = poller(gateway, clock)
    assert (await polling.poll()).edges
    assert not (await polling.poll()).edges
    clock.advance(61)
    assert (await polling.poll()).edges


async def test_late_rows_are_seen_and_settled_ones_not_told_again() -> None:
    gateway, clock = Gateway(), ManualClock(AT)
    polling = poller(gateway, clock)
    gateway.rows = [served("a", second(0))]
    first = await polling.poll()
    assert calls(first) == calls(await polling.poll()) == ["a"]
    polling.settle(first)
    clock.advance(150)
    gateway.rows += [served("late", second(-20)), served("b", second(149))]
    second_poll = await polling.poll()
    assert calls(second_poll) == ["late", "b"]
    polling.settle(second_poll)
    assert calls(await polling.poll()) == []


async def test_what_was_not_settled_is_told_again_after_a_long_time() -> None:
    gateway, clock = Gateway(), ManualClock(AT)
    polling = poller(gateway, clock)
    gateway.rows = [served("a", second(-60))]
    await polling.poll()
    clock.advance(1800)
    assert calls(await polling.poll()) == ["a"]


async def test_pages_are_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "PAGE_SIZE", 3)
    gateway = Gateway()
    gateway.rows = [served(f"n{number}", second(number)) for number in range(10)]
    assert calls(await poller(gateway, ManualClock(AT)).poll()) == [f"n{number}" for number in range(10)]


async def test_a_log_too_long_for_one_poll_is_read_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "PAGE_SIZE", 3)
    monkeypatch.setattr(litellm, "MAX_PAGES", 2)
    gateway, clock = Gateway(), ManualClock(AT)
    gateway.rows = [served(f"n{number:02d}", second(number)) for number in range(14)]
    polling, told, asked = poller(gateway, clock), set[str](), 0
    while len(told) < 14:
        polled = await polling.poll()
        told.update(calls(polled))
        polling.settle(polled)
        asked += 1
        assert asked <= 6
    assert max(len(calls(await polling.poll())), 0) <= 6


async def test_broken_rows_are_left_out_and_the_others_told() -> None:
    gateway = Gateway()
    gateway.rows = [served("a"), served("b", prompt_tokens="many"), {"startTime": second(0)}, served("c", endTime=None)]
    assert sorted(calls(await poller(gateway).poll())) == ["a", "c"]


async def test_missing_metrics_do_not_hide_the_spend_log() -> None:
    gateway = Gateway()
    gateway.rows, gateway.metrics = [served("a")], 404
    assert calls(await poller(gateway).poll()) == ["a"]


async def test_a_gateway_without_a_database_is_counted() -> None:
    gateway, clock = Gateway(), ManualClock()
    gateway.db = "Not connected"
    line = 'litellm_deployment_{}_responses_total{{model_id="xa"{}}} {}\n'
    gateway.metrics = STATE_LINE + line.format("success", "", 5)
    polling = poller(gateway, clock)
    first = await polling.poll()
    polling.settle(first)
    assert calls(first) == []
    assert {str(edge.source) for edge in first.edges} == {"model:gpt-x", "deployment:xa", "deployment:xb"}
    failure = line.format("failure", ',exception_status="500",exception_class="Openai.InternalServerError"', 3)
    gateway.metrics = STATE_LINE + line.format("success", "", 6) + failure
    second_poll = await polling.poll()
    found = [signal for signal in second_poll.signals if isinstance(signal, Call)]
    assert sum(call.error is not None for call in found) == 3
    assert len(found) == 4
    assert {(call.source, call.deployment, call.provider) for call in found} == {
        ("litellm/main/metrics", "xa", "127.0.0.1:1")
    }
    assert {"/spend/logs/v2", "/key/list"}.isdisjoint(request.url.path for request in gateway.requests)


async def test_neither_database_nor_metrics_is_told_with_the_cure() -> None:
    gateway = Gateway()
    gateway.db, gateway.metrics = "Not connected", 404
    with pytest.raises(UnavailableError, match="neither a database nor metrics") as caught:
        await poller(gateway).poll()
    assert "prometheus" in caught.value.next_step


def hang(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow", request=request)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError(f"no {request.headers['authorization']}", request=request)


@pytest.mark.parametrize("path", ["/health/readiness", "/model/info", "/key/list", "/spend/logs/v2"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda _: httpx.Response(401, json={"error": {"message": f"wrong {ADMIN_KEY}"}}), UnavailableError),
        (lambda _: httpx.Response(500, text=ADMIN_KEY), UnavailableError),
        (lambda _: httpx.Response(302, headers={"location": "/login"}), UnavailableError),
        (lambda _: httpx.Response(200, html=f"<html>Sign in {ADMIN_KEY}</html>"), InputError),
        (lambda _: httpx.Response(200, json=[ADMIN_KEY]), InputError),
        (lambda _: httpx.Response(200, content=b"x" * (33 << 20)), UnavailableError),
        (hang, UnavailableError),
        (refuse, UnavailableError),
    ],
    ids=["401", "500", "302", "html", "other-json", "huge", "timeout", "unreachable"],
)
async def test_bad_answers_are_typed_errors_without_the_key(
    path: str, answer: Callable[[httpx.Request], httpx.Response], expected: type[WatchkeeperError]
) -> None:
    gateway = Gateway()
    gateway.overrides[path] = answer
    with pytest.raises(expected) as caught:
        await poller(gateway).poll()
    told = f"{caught.value.diagnostics()} {caught.value!r}"
    assert ADMIN_KEY not in told
    assert "main" in told
    assert path in told
    assert caught.value.next_step


async def test_a_poll_that_failed_is_made_up_for() -> None:
    gateway, clock = Gateway(), ManualClock(AT)
    polling = poller(gateway, clock)
    gateway.overrides["/spend/logs/v2"] = hang
    gateway.rows = [served("a", second(5))]
    for _ in range(3):
        clock.advance(300)
        with pytest.raises(UnavailableError):
            await polling.poll()
    del gateway.overrides["/spend/logs/v2"]
    polled = await polling.poll()
    assert calls(polled) == ["a"]
    assert polled.edges


def test_the_source_does_not_print_its_key() -> None:
    source = LiteLLMSource(name="main", base_url="http://gateway", admin_key=SecretStr(ADMIN_KEY))
    assert ADMIN_KEY not in f"{source!r} {source.model_dump_json()}"
