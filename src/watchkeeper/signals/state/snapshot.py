"""The bytes of the signal state: canonical JSON of whole numbers, texts and lists, the same for the same contents.

A snapshot fits the bucket and step it was made with; configuration and prices are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from watchkeeper.core.canonical import canonical
from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Contract
from watchkeeper.signals.state.calls import CallRow
from watchkeeper.signals.state.levels import LevelRows
from watchkeeper.signals.state.links import LinkRows
from watchkeeper.signals.state.runs import RunRow
from watchkeeper.signals.state.traces import TraceRows
from watchkeeper.signals.state.windows import SeriesRow


class Snapshot(Contract):
    schema_name = "watchkeeper.dev/signal-state/v1"
    bucket_us: int
    step_us: int
    now_us: int
    heard_us: int
    windows: list[SeriesRow]
    links: LinkRows
    levels: LevelRows
    runs: list[RunRow]
    traces: TraceRows
    calls: list[CallRow]
    evictions: list[tuple[str, str, int]]


def encode(parts: Mapping[str, JsonValue]) -> bytes:
    return canonical(dict(parts))


def decode(body: bytes, bucket_us: int, step_us: int) -> Snapshot:
    try:
        snapshot = Snapshot.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(
            f"the signal state's snapshot is broken: {first['msg']}",
            place=".".join(str(part) for part in first["loc"]),
            cause="it is of another version, or was changed",
            next_step="start without it: the state is rebuilt from the signals that come in",
        ) from error
    if (snapshot.bucket_us, snapshot.step_us) != (bucket_us, step_us):
        raise InputError(
            "the signal state's snapshot has other buckets than the settings ask for",
            place="state.bucket_s",
            cause="state.bucket_s or state.step_s was changed since it was made",
            next_step="start without it: the state is rebuilt from the signals that come in",
        )
    return snapshot
