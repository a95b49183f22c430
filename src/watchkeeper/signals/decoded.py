"""What an OTLP body comes to, and what its traces and metrics have in common: instants and attributes.

It does NOT know any attribute by meaning: `names` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from pydantic import JsonValue

from watchkeeper.core.errors import InputError
from watchkeeper.core.signals import Signal
from watchkeeper.signals import names

MAX_ITEMS = 50_000
MAX_MESSAGES = 5

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Decoded:
    """`rejected` are spans or points that were well formed but could not be used; `messages` say why."""

    signals: tuple[Signal, ...]
    rejected: int = 0
    messages: tuple[str, ...] = ()


class Collector:
    """Gathers signals up to a bound, and the reasons for what is not among them."""

    def __init__(self) -> None:
        self._signals: list[Signal] = []
        self._visited = 0
        self._rejected = 0
        self._messages: list[str] = []

    def add(self, signal: Signal, place: str) -> None:
        if len(self._signals) >= MAX_ITEMS:
            raise _too_many("spans or points", place)
        self._signals.append(signal)

    def visit(self, groups: int, place: str) -> None:
        """Counts what holds spans and points, too: empty groups cost the sender two bytes and us far more."""
        self._visited += groups
        if self._visited > MAX_ITEMS:
            raise _too_many("resources, scopes, metrics and points", place)

    def reject(self, place: str, why: str) -> None:
        self._rejected += 1
        if len(self._messages) < MAX_MESSAGES:
            self._messages.append(f"{place}: {why}")

    def decoded(self) -> Decoded:
        return Decoded(tuple(self._signals), self._rejected, tuple(self._messages))


def _too_many(what: str, place: str) -> InputError:
    return InputError(
        f"the body holds more than {MAX_ITEMS} {what}",
        cause="one export holds too much",
        next_step="lower the exporter's batch size",
        place=place,
    )


def instant(nanoseconds: int) -> datetime:
    """To the microsecond; every value of the wire's 64 bits is a date that exists."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def known(pairs: Iterable[KeyValue]) -> dict[str, JsonValue]:
    """The attributes that the table names; the rest may be anything, and is not looked at."""
    return {pair.key: plain(pair.value) for pair in pairs if pair.key in names.KNOWN}


def plain(value: AnyValue) -> JsonValue:
    match value.WhichOneof("value"):
        case "string_value":
            return str(value.string_value)
        case "bool_value":
            return bool(value.bool_value)
        case "int_value":
            return int(value.int_value)
        case "double_value":
            return float(value.double_value)
        case "array_value":
            return [plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return bytes(value.bytes_value).hex()
        case _:
            return None
