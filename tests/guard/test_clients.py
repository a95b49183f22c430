"""The same rules beside a plain client and in LangGraph."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypedDict

import httpx
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from tests.testbed.guardrules import rule, rules

from watchkeeper_guard.guard import Guard, RefusedError
from watchkeeper_guard.langgraph import callback
from watchkeeper_guard.local import Local
from watchkeeper_guard.openai import async_transport, transport
from watchkeeper_guard.request import Prices, Request
from watchkeeper_guard.runs import RunState

NOW = 1_800_000_000.0
URL = "https://model.example/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}
USED = {"prompt_tokens": 7, "completion_tokens": 3}


def local(*given: dict[str, Any], tokenize: Callable[[str], int] | None = len) -> Local:
    guard = Guard(clock=lambda: NOW)
    guard.put(rules(*given))
    return Local(guard, tokenize=tokenize, facts=lambda model: (100, Prices(1e-6, 1e-6)))


def spent(guarded: Local, run: str = "r1") -> RunState:
    return guarded.guard.runs.get(Request(model="m", runs=(run,)).run_key, NOW)


class Model:
    """A provider that answers with a status, and what it was asked."""

    def __init__(self, status: int = 200, body: object = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self._status, self._body = status, {"usage": USED} if body is None else body

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        return httpx.Response(self._status, json=self._body)


def post(guarded: Local, model: Model, body: dict[str, Any] = BODY, agent: str = "") -> httpx.Response:
    headers = {"x-watchkeeper-run": "r1", "x-watchkeeper-agent": agent}
    with httpx.Client(transport=transport(guarded, httpx.MockTransport(model))) as client:
        return client.post(URL, json=body, headers=headers)


BUDGET = rule("budget", per="run", max_tokens=10_000, max_usd="1")


def test_a_client_is_refused_as_by_a_gateway_and_the_model_is_not_asked() -> None:
    model, guarded = Model(), local(rule("iterations", max_calls=2))
    assert [post(guarded, model).status_code for _ in range(3)] == [200, 200, 403]
    refused = post(guarded, model)
    assert refused.json()["error"]["code"] == refused.headers["x-watchkeeper-guard"] == "run_calls_exceeded"
    assert len(model.asked) == 2


def test_a_client_pays_for_what_was_used() -> None:
    guarded = local(BUDGET)
    post(guarded, Model())
    assert (spent(guarded).tokens, spent(guarded).micro_usd) == (10, 10)
    post(guarded, Model(status=429))
    assert spent(guarded).tokens == 10
    for lost in (Model(status=504), Model(body={"no": "usage"}), Model(body=[])):
        before = spent(guarded).tokens
        post(guarded, lost)
        assert spent(guarded).tokens > before + 10  # stays charged with what was expected


def test_a_streamed_answer_stays_charged_with_what_was_expected() -> None:
    guarded = local(BUDGET)
    post(guarded, Model(), body={**BODY, "stream": True})
    assert (spent(guarded).tokens > 10, guarded.guard.under_way) == (True, 0)


def test_an_agent_is_named_by_its_header_and_a_mark_comes_back() -> None:
    guarded = local(
        rule("hold", match={"agent": "bad"}, state="stopped"), rule("context", max_input_tokens=1, action="mark")
    )
    assert post(guarded, Model(), agent="bad").status_code == 403
    assert post(guarded, Model()).headers["x-watchkeeper-guard"].startswith("context_over_limit; observed=")


def test_a_prompt_is_counted_by_the_tokenizer_that_is_given() -> None:
    body = {**BODY, "messages": [{"role": "user", "content": "x" * 150}]}
    over = rule("context", max_input_tokens="model", on_doubt="closed")
    assert post(local(over), Model(), body).json()["error"]["code"] == "context_over_limit"
    assert post(local(over, tokenize=lambda text: 1), Model(), body).status_code == 200
    assert post(local(over, tokenize=None), Model(), body).json()["error"]["code"] == "prompt_uncounted"


@pytest.mark.parametrize("sent", [b"", b"[]", b"{", b'{"not": "a call"}'])
def test_what_is_no_call_to_a_model_passes(sent: bytes) -> None:
    passed = transport(local(rule("iterations", max_calls=0)), httpx.MockTransport(lambda _: httpx.Response(204)))
    with httpx.Client(transport=passed) as client:
        assert client.post(URL, content=sent, headers={"content-type": "application/json"}).status_code == 204
        assert client.get(URL).status_code == 204


async def test_the_same_for_a_client_that_awaits() -> None:
    model, guarded = Model(), local(BUDGET, rule("iterations", max_calls=1))
    async with httpx.AsyncClient(transport=async_transport(guarded, httpx.MockTransport(model))) as client:
        answers = [await client.post(URL, json=BODY, headers={"x-watchkeeper-run": "r1"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 403]
    assert (len(model.asked), spent(guarded).tokens) == (1, 10)


class Talk(TypedDict):
    messages: list[Any]


def looping(calls: list[int]) -> Any:
    """A graph whose one node asks its model again and again, for ever."""

    def answers() -> Any:
        while True:
            calls.append(1)
            used = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}
            yield AIMessage("again", usage_metadata=used)

    model = GenericFakeChatModel(messages=answers())

    def ask(state: Talk) -> Talk:
        model.invoke(state["messages"])
        return state

    graph = StateGraph(Talk)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", lambda _: "ask", ["ask", END])
    return graph.compile()


def test_a_graph_that_loops_is_cut() -> None:
    calls: list[int] = []
    guarded = local(rule("loop", max_repeats=3), BUDGET)
    config = {"callbacks": [callback(guarded)], "configurable": {"thread_id": "r1"}, "recursion_limit": 50}
    with pytest.raises(RefusedError) as refused:
        looping(calls).invoke({"messages": [HumanMessage("hello")]}, config)
    assert (refused.value.code, refused.value.status, len(calls)) == ("run_repeats_itself", 403, 3)
    assert (spent(guarded).calls, spent(guarded).tokens) == (3, 18)


def test_a_node_is_an_agent_that_can_be_paused_and_others_feel_nothing() -> None:
    guarded, calls = local(rule("hold", match={"agent": "ask"}, state="paused")), list[int]()
    handler = callback(guarded)
    with pytest.raises(RefusedError, match="paused"):
        looping(calls).invoke({"messages": [HumanMessage("hello")]}, {"callbacks": [handler]})
    GenericFakeChatModel(messages=iter([AIMessage("fine")])).invoke("hello", {"callbacks": [handler]})
    assert calls == []


def test_a_model_that_fails_stays_charged() -> None:
    guarded = local(BUDGET)
    config: RunnableConfig = {"callbacks": [callback(guarded)], "metadata": {"watchkeeper_run": "r1"}}
    with pytest.raises(StopIteration):
        GenericFakeChatModel(messages=iter([])).invoke("hello", config)
    assert (spent(guarded).tokens > 0, guarded.guard.under_way) == (True, 0)
