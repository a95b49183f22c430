"""What makes two calls of a run the same: the last word to the model, and the tool calls before it.

White space, the order of arguments and the ids of calls do not count. A model that says the same in other words is NOT
seen to repeat itself; a counter or a clock in a tool's answer makes its calls differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

MOST = 1 << 15
"""Of a long text its first and last so many characters count, and its length."""


def fingerprint(body: Mapping[str, object]) -> int:
    """64 bits, never 0; 0 where there is no message."""
    messages = body.get("messages", body.get("input"))
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, list) or not messages:
        return 0
    words = list(_words(messages))
    if not words:
        return 0
    hashed = hashlib.blake2b(digest_size=8)
    for word in words:
        hashed.update(word.encode("utf-8", "surrogatepass") + b"\0")
    return int.from_bytes(hashed.digest(), "little") or 1


def _words(messages: list[object]) -> Iterator[str]:
    """From the end back to the last thing that the model said: what was said to it, then what it had asked for."""
    for message in reversed(messages[-64:]):
        if not isinstance(message, Mapping):
            continue
        role, kind = message.get("role"), message.get("type")
        if role == "assistant" or kind == "function_call":
            yield from sorted(_calls(message))
            return
        if role in ("user", "tool", "function") or kind == "function_call_output":
            yield _short(_text(message.get("content", message.get("output"))))


def _calls(message: Mapping[str, object]) -> Iterator[str]:
    """Name and arguments of each tool call: chat's, responses', Anthropic's."""
    if message.get("type") == "function_call":
        yield f"{message.get('name')} {_arguments(message.get('arguments'))}"
    listed = [message.get("tool_calls"), message.get("content")]
    for each in (call for calls in listed if isinstance(calls, list) for call in calls):
        if isinstance(each, Mapping) and isinstance(called := each.get("function"), Mapping):
            yield f"{called.get('name')} {_arguments(called.get('arguments'))}"
        elif isinstance(each, Mapping) and each.get("type") == "tool_use":
            yield f"{each.get('name')} {_arguments(each.get('input'))}"


def _arguments(value: object) -> str:
    if isinstance(value, str):
        if len(value) > MOST:
            return _short(value)
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return _short(str(value))
    try:
        return _short(json.dumps(value, sort_keys=True, default=str))
    except (ValueError, RecursionError):
        return ""


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [each.get("text", each.get("content")) for each in content if isinstance(each, Mapping)]
        return "\n".join(part if isinstance(part, str) else _text(part) for part in parts)
    return ""


def _short(text: str) -> str:
    if len(text) > 2 * MOST:
        text = f"{len(text)} {text[:MOST]} {text[-MOST:]}"
    return " ".join(text.split())
