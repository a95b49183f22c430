"""OTLP/HTTP bodies to signals: protobuf or JSON, plain or gzip, bounded before and after decompression.

What is malformed raises `InputError` with the place, and nothing of that body is taken. A span or point that is well
formed but means nothing (no end time, no subject) is counted as rejected, as OTLP's partial success has it. Metrics and
attributes outside the table of names are ignored. Whether the signals are new is NOT known here: that is the inbox's.
"""

from __future__ import annotations

import json
import zlib
from typing import TypeVar

from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from watchkeeper.core.errors import InputError
from watchkeeper.signals import genaimetrics, spans
from watchkeeper.signals.decoded import Decoded
from watchkeeper.signals.otlpjson import fill

__all__ = ["MAX_COMPRESSED", "MAX_DECOMPRESSED", "Decoded", "decode_metrics", "decode_traces"]

MAX_COMPRESSED = 8 * 2**20
MAX_DECOMPRESSED = 32 * 2**20

MAX_MEMBERS = 64
"""Parts that one gzip body may be made of: each costs a copy of what is left, so many small ones take very long."""

_GZIP = 31
"""zlib's `wbits` for gzip alone."""

M = TypeVar("M", bound=Message)


def decode_traces(body: bytes, content_type: str, content_encoding: str = "") -> Decoded:
    return spans.decode(_message(ExportTraceServiceRequest(), body, content_type, content_encoding))


def decode_metrics(body: bytes, content_type: str, content_encoding: str = "") -> Decoded:
    return genaimetrics.decode(_message(ExportMetricsServiceRequest(), body, content_type, content_encoding))


def _message(message: M, body: bytes, content_type: str, content_encoding: str) -> M:
    plain = _plain(body, content_encoding.strip().lower())
    match content_type.partition(";")[0].strip().lower():
        case "application/x-protobuf":
            try:
                message.ParseFromString(plain)
            except DecodeError as error:
                raise _bad("body", "the body is not the protobuf message it should be") from error
        case "application/json":
            try:
                value = json.loads(plain)
            except (ValueError, RecursionError) as error:
                raise _bad("body", "the body is not JSON") from error
            fill(message, value)
        case _:
            raise _bad("content-type", "the content type is neither application/x-protobuf nor application/json")
    return message


def _plain(body: bytes, encoding: str) -> bytes:
    if len(body) > MAX_COMPRESSED:
        raise _too_large(MAX_COMPRESSED)
    match encoding:
        case "" | "identity":
            return body
        case "gzip":
            return _unzipped(body)
        case _:
            raise _bad("content-encoding", "the content encoding is neither gzip nor identity")


def _unzipped(body: bytes) -> bytes:
    """All members of a gzip body; never holds more than the bound, whatever the body claims."""
    parts: list[bytes] = []
    size = 0
    while body or not parts:
        if len(parts) >= MAX_MEMBERS:
            raise _bad("body", f"the gzip body has more than {MAX_MEMBERS} members")
        stream = zlib.decompressobj(_GZIP)
        try:
            part = stream.decompress(body, MAX_DECOMPRESSED - size + 1)
        except zlib.error as error:
            raise _bad("body", "the body is not gzip") from error
        size += len(part)
        if size > MAX_DECOMPRESSED:
            raise _too_large(MAX_DECOMPRESSED)
        if not stream.eof:
            raise _bad("body", "the gzip body ends too early")
        parts.append(part)
        body = stream.unused_data
    return b"".join(parts)


def _bad(place: str, what: str) -> InputError:
    return InputError(
        what,
        cause="the sender is not an OTLP/HTTP exporter, or its content headers do not fit its body",
        next_step="set the exporter's protocol to http/protobuf",
        place=place,
    )


def _too_large(limit: int) -> InputError:
    return InputError(
        f"the body is larger than {limit} bytes",
        cause="one export holds too much",
        next_step="lower the exporter's batch size",
        place="body",
    )
