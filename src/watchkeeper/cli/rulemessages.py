"""What a policy's rules tell people about a decision, as lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def told_messages(messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """`policy says: paying customers only when we are sure (limit/paying, rule sure, rule_not_met)`."""
    for each in messages:
        text = each["message"] or "its message is not kept"
        yield f"policy says: {text} ({each['node']}, rule {each['rule']}, {each['reason']})"
