from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import JsonValue, SecretStr, ValidationError
from tests.signals.wire_samples import AT

from watchkeeper.core.clock import ManualClock, SystemClock
from watchkeeper.core.errors import InputError, UnavailableError, WatchkeeperError
from watchkeeper.core.signals import Sample
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.prometheus import PrometheusConfig, PrometheusPoller, PrometheusQuery

if TYPE_CHECKING:
    from tests.testbed.prometheus import Prometheus

TOKEN = "a-bearer-token"
NOW = AT.timestamp()
LATENCY = PrometheusQuery(
    name="db_p99", promql="latency", subject_kind=SubjectKind.HOST, subject_label="instance", unit="s"
)
HISTORY = LATENCY.model_copy(update={"name": "db_history", "range_s": 60.0, "step_s": 15.0})

Handler = Callable[[httpx.Request], httpx.Response]


def poller(handler: Handler, *queries: PrometheusQuery, clock: ManualClock | None = None) -> PrometheusPoller:
    config = PrometheusConfig(name="main", base_url="http://prom/", bearer=SecretStr(TOKEN), queries=queries)
    return PrometheusPoller(config, httpx.AsyncClient(transport=httpx.MockTransport(handler)), clock or ManualClock(AT))


def reply(kind: str, result: JsonValue) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": {"resultType": kind, "result": result}})


def one(value: str, **metric: str) -> JsonValue:
    return {"metric": {"__name__": "latency", **metric}, "value": [NOW, value]}


async def test_an_instant_query_becomes_samples() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return reply("vector", [one("0.25", instance="db-1"), one("1e3", instance="db-2")])

    found = await poller(answer, LATENCY).poll()
    assert asked[0].url.path == "/api/v1/query"
    assert dict(asked[0].url.params) == {"query": "latency", "time": f"{NOW:.3f}"}
    assert asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert [(s.subject.id, s.value, s.at, s.name, s.unit) for s in found if isinstance(s, Sample)] == [
        ("db-1", 0.25, AT, "db_p99", "s"),
        ("db-2", 1000.0, AT, "db_p99", "s"),
    ]
    assert len({signal.id for signal in found}) == 2
    assert {signal.source for signal in found} == {"prometheus/main"}


async def test_a_range_query_asks_for_whole_steps_so_that_polls_overlap() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        start, end = float(request.url.params["start"]), float(request.url.params["end"])
        times = range(int(start), int(end) + 1, 15)
        return reply("matrix", [{"metric": {"instance": "db-1"}, "values": [[at, "1"] for at in times]}])

    clock = ManualClock(AT + timedelta(seconds=7))
    polling = poller(answer, HISTORY, clock=clock)
    first = await polling.poll()
    clock.advance(15)
    second = await polling.poll()
    assert asked[0].url.path == "/api/v1/query_range"
    assert asked[0].url.params["step"] == "15.0"
    assert len(first) == 5
    assert len({signal.id for signal in first} & {signal.id for signal in second}) == 4


async def test_a_scalar_and_a_fixed_subject() -> None:
    query = PrometheusQuery(name="up", promql="scalar(up)", subject_kind=SubjectKind.SERVICE, subject_id="db")
    (found,) = await poller(lambda _: reply("scalar", [NOW, "1"]), query).poll()
    assert isinstance(found, Sample)
    assert (found.subject, found.value) == (Subject(kind=SubjectKind.SERVICE, id="db"), 1.0)


async def test_what_is_no_number_or_names_no_subject_is_left_out() -> None:
    result = [one(text, instance="db") for text in ("NaN", "+Inf", "-Inf")] + [one("1"), one("2", instance="db")]
    polling = poller(lambda _: reply("vector", result), LATENCY)
    found = await polling.poll()
    assert [signal.value for signal in found if isinstance(signal, Sample)] == [2.0]
    assert polling.unusable == "queries.db_p99: 1 series have no label instance"


async def test_one_unusable_query_does_not_hide_the_others() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params["query"] == "bad":
            return httpx.Response(400, json={"status": "error", "errorType": "bad_data", "error": "parse error"})
        return reply("vector", [one("1", instance="db")])

    bad = LATENCY.model_copy(update={"name": "bad", "promql": "bad"})
    both = poller(answer, bad, LATENCY)
    assert len(await both.poll()) == 1
    assert both.unusable == "queries.bad: the query was refused by Prometheus"
    with pytest.raises(InputError) as caught:
        await poller(answer, bad).poll()
    assert caught.value.place == "queries.bad"


def hang(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectTimeout("slow", request=request)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda _: httpx.Response(200, html=f"<html>{TOKEN}</html>"), InputError),
        (lambda _: httpx.Response(200, json={"status": "error"}), InputError),
        (lambda _: reply("string", [NOW, TOKEN]), InputError),
        (lambda _: reply("vector", [{"metric": {}, "value": [NOW, TOKEN]}]), InputError),
        (lambda _: reply("matrix", [{"metric": {"instance": "a"}, "values": [[NOW, "1"]] * 20_001}]), InputError),
        (lambda _: httpx.Response(200, content=b"x" * (9 << 20)), UnavailableError),
        (lambda _: httpx.Response(503, text=TOKEN), UnavailableError),
        (lambda _: httpx.Response(401), UnavailableError),
        (hang, UnavailableError),
        (refuse, UnavailableError),
    ],
    ids=["html", "error", "string", "no-number", "too-many", "huge", "503", "401", "timeout", "unreachable"],
)
async def test_bad_answers_are_typed_errors_without_the_token(
    answer: Handler, expected: type[WatchkeeperError]
) -> None:
    with pytest.raises(expected) as caught:
        await poller(answer, LATENCY).poll()
    assert TOKEN not in f"{caught.value.diagnostics()} {caught.value!r}"
    assert caught.value.next_step


@pytest.mark.parametrize("fields", [{}, {"subject_id": "a", "subject_label": "b"}, {"subject_id": "a", "range_s": 1e9}])
def test_a_query_must_say_one_subject_and_a_bounded_range(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        PrometheusQuery.model_validate({"name": "a", "promql": "b", "subject_kind": "host", **fields})


@pytest.mark.parametrize("url", ["http://ann:hunter2@prom", "ftp://prom", "prom:9090", "http://"])
def test_an_address_holds_no_password(url: str) -> None:
    with pytest.raises(ValidationError):
        PrometheusConfig(name="main", base_url=url)


@pytest.mark.peer
async def test_a_real_prometheus(prometheus: Callable[..., Prometheus]) -> None:
    server = await asyncio.to_thread(prometheus, scrape={})
    fixed = PrometheusQuery(name="two", promql="vector(2)", subject_kind=SubjectKind.SERVICE, subject_id="db")
    labelled = PrometheusQuery(
        name="history",
        promql='label_replace(vector(3), "instance", "db-1", "", "")',
        subject_kind=SubjectKind.HOST,
        subject_label="instance",
        range_s=30,
        step_s=10,
    )
    nan = PrometheusQuery(name="nan", promql="vector(0/0)", subject_kind=SubjectKind.SERVICE, subject_id="db")
    broken = PrometheusQuery(name="broken", promql="sum(", subject_kind=SubjectKind.SERVICE, subject_id="db")
    config = PrometheusConfig(name="real", base_url=server.url, queries=(fixed, labelled, nan, broken))
    async with httpx.AsyncClient(trust_env=False) as client:
        found = await PrometheusPoller(config, client, SystemClock()).poll()
    assert [(str(s.subject), s.value) for s in found if isinstance(s, Sample)] == [
        ("service:db", 2.0),
        *[("host:db-1", 3.0)] * 4,
    ]


@pytest.mark.parametrize("moment", [1e20, -6e10, "NaN"])
async def test_a_time_that_is_no_date_is_refused_as_such(moment: JsonValue) -> None:
    broken: JsonValue = {"metric": {"instance": "db-1"}, "value": [moment, "1"]}
    with pytest.raises(InputError):
        await poller(lambda _: reply("vector", [broken]), LATENCY).poll()
