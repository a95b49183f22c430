"""Signals, and rows of the spend log as the real proxy writes them, for the tests of what comes in."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from pydantic import JsonValue

from watchkeeper.core.signals import Call, Sample, Usage
from watchkeeper.core.subjects import Subject, SubjectKind

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY = hashlib.sha256(b"key").hexdigest()

Row = dict[str, JsonValue]


def call(name: str, source: str = "litellm/main") -> Call:
    return Call(
        id=name,
        source=source,
        at=AT,
        started=AT,
        call_id=name,
        gateway="main",
        usage=Usage(input=3, output=4),
        cost_usd=0.25,
    )


def sample(value: float, name: str = "s") -> Sample:
    subject = Subject(kind=SubjectKind.HOST, id="h")
    return Sample(id=name, source="test", at=AT, name="load", subject=subject, value=value)


def served(request_id: str, started: str = "2026-01-01T00:00:00.000+00:00", **changes: JsonValue) -> Row:
    return {
        "request_id": request_id,
        "litellm_call_id": f"gateway-{request_id}",
        "status": "success",
        "call_type": "acompletion",
        "api_key": KEY,
        "spend": 0.0002,
        "total_tokens": 150,
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "startTime": started,
        "endTime": started.replace(".000", ".250"),
        "model": "openai/fake",
        "model_id": "xb",
        "model_group": "gpt-x",
        "custom_llm_provider": "openai",
        "api_base": "http://127.0.0.1:18998/v1/",
        "user": "",
        "end_user": "a person",
        "team_id": "",
        "messages": {},
        "metadata": {
            "status": None,
            "user_api_key_alias": "q1",
            "error_information": None,
            "usage_object": {
                "prompt_tokens": 100,
                "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": None},
                "completion_tokens_details": None,
            },
        },
        **changes,
    }


def failed(request_id: str, error: Row, **changes: JsonValue) -> Row:
    """`changes` are what the row says besides; the default is a failure that reached deployment `xa`."""
    row = {**served(request_id), "model_id": "xa", "spend": 0, "prompt_tokens": 8, "completion_tokens": 0, **changes}
    information: Row = {
        "error_message": "free text",
        "traceback": "...",
        "error_rate_limit_category": None,
        "error_rate_limit_type": None,
        "llm_provider": "openai",
        **error,
    }
    return {**row, "status": "failure", "metadata": {"status": "failure", "error_information": information}}


NOBODY: Row = {"model_id": "", "api_base": "", "model": "gpt-x", "model_group": ""}
"""A row that reached no deployment."""
