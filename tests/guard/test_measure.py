"""Sizes and fingerprints of requests in all their forms."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_guard.counting import WAITING, Counter, UncountedError
from watchkeeper_guard.fingerprint import fingerprint
from watchkeeper_guard.measure import MAX_NODES, measure, output_of

CHAT = {"messages": [{"role": "user", "content": "héllo"}]}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x" * 1000}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 1000}]}]},
        {"input": "x" * 1000},
        {"input": ["x" * 500, "x" * 500]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x" * 1000}]}]},
        {"prompt": "x" * 1000},
        {"system": "x" * 500, "messages": [{"role": "user", "content": "x" * 500}]},
        {"messages": [], "tools": [{"type": "function", "function": {"description": "x" * 1000}}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "x" * 1000}}]}]},
    ],
)
def test_text_is_found_wherever_it_is(body: dict[str, object]) -> None:
    size = measure(body)
    assert 1000 <= size.upper < 1700
    assert 400 <= size.estimate < 520
    assert size.opaque == 0


def test_bytes_bound_it_not_characters() -> None:
    assert measure({"prompt": "界" * 100}).upper >= 300
    assert measure({"prompt": "界" * 300_000}).upper >= 900_000


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "document"])
def test_what_is_not_text_is_told_and_not_measured(kind: str) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": kind, kind: {"data": "A" * 100_000}}]}]}
    size = measure(body)
    assert (size.opaque, size.upper < 1000) == (1, True)


def test_a_prompt_of_too_many_parts_is_not_said_to_be_small() -> None:
    assert measure({"input": ["x"] * (MAX_NODES + 5)}).opaque == 1


@given(st.fixed_dictionaries({"messages": ANYTHING, "tools": ANYTHING, "max_tokens": ANYTHING, "n": ANYTHING}))
def test_nothing_that_is_sent_breaks_it(body: dict[str, Any]) -> None:
    size = measure(body)
    assert 0 <= size.estimate <= size.upper
    assert 0 <= fingerprint(body) < 1 << 64
    assert output_of(body) is None or isinstance(output_of(body), int)


@given(st.lists(st.text(), max_size=8))
def test_the_bound_is_at_least_the_bytes(texts: list[str]) -> None:
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    assert measure(body).upper >= sum(len(text.encode()) for text in texts)


def test_the_answer_that_is_asked_for() -> None:
    assert output_of({"max_tokens": 5, "n": 3}) == 15
    assert output_of({"max_completion_tokens": 7}) == output_of({"max_output_tokens": 7}) == 7
    assert output_of({"max_tokens": True}) is None


def turn(arguments: str, answer: str, call_id: str = "1") -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": "find it"},
            {"role": "assistant", "tool_calls": [{"id": call_id, "function": {"name": "s", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": call_id, "content": answer},
        ]
    }


def test_the_same_call_in_another_dress_is_the_same() -> None:
    first = fingerprint(turn('{"a": 1, "b": 2}', "none  found"))
    assert first == fingerprint(turn('{"b":2,"a":1}', "none found\n", call_id="2"))
    assert first != fingerprint(turn('{"a": 1, "b": 3}', "none found"))
    assert first != fingerprint(turn('{"a": 1, "b": 2}', "one found"))
    grown = turn('{"a": 1, "b": 2}', "none found")
    grown["messages"] = [{"role": "user", "content": "earlier"}, *grown["messages"]]  # type: ignore[misc]
    assert first == fingerprint(grown)


def test_other_apis_repeat_themselves_too() -> None:
    anthropic = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "s", "input": {"q": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "none"}]},
    ]
    responses = [
        {"type": "function_call", "call_id": "1", "name": "s", "arguments": '{"q": 1}'},
        {"type": "function_call_output", "call_id": "1", "output": "none"},
    ]
    for messages, name in ((anthropic, "messages"), (responses, "input")):
        changed = json.loads(json.dumps(messages).replace('"none"', '"some"'))
        assert fingerprint({name: messages}) == fingerprint({name: json.loads(json.dumps(messages))}) != 0
        assert fingerprint({name: messages}) != fingerprint({name: changed})
    assert fingerprint({"input": "again"}) == fingerprint(CHAT | {"messages": [{"role": "user", "content": "again"}]})


def test_without_a_message_there_is_nothing_to_repeat() -> None:
    assert fingerprint({}) == fingerprint({"messages": []}) == fingerprint({"prompt": "x"}) == 0


async def test_counting_stops_at_the_limit_and_knows_what_it_counted() -> None:
    counter, counted = Counter(), list[int]()

    def tokenize(text: str) -> int:
        counted.append(len(text))
        return len(text)

    long = {"prompt": "x" * 1_000_000}
    assert await counter.count(long, "m", tokenize, 50_000) > 50_000
    assert sum(counted) < 100_000
    before = len(counted)
    assert await counter.count({"prompt": "x" * 20_000}, "m", tokenize, 50_000) == 20_003
    assert await counter.count({"prompt": "x" * 20_000}, "m", tokenize, 50_000) == 20_003
    assert len(counted) == before + 1


async def test_what_cannot_be_counted_says_so_and_waiting_is_bounded() -> None:
    counter, release = Counter(), threading.Event()

    def broken(text: str) -> int:
        raise KeyError(text)

    def slow(text: str) -> int:
        release.wait(30)
        return 1

    with pytest.raises(UncountedError):
        await counter.count(CHAT, "m", broken, 10)
    waiting = [asyncio.create_task(counter.count(CHAT, "m", slow, 10)) for _ in range(WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(UncountedError):
        await counter.count(CHAT, "m", slow, 10)
    release.set()
    await asyncio.gather(*waiting)
    assert await counter.count(CHAT, "m", slow, 10) > 0
