"""Rows as the real proxy writes them, and what they become."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError
from tests.signals.wire_samples import AT, KEY, NOBODY, Row, failed, served

from watchkeeper.core.signals import Call, ErrorClass, Usage
from watchkeeper.signals.litellm_rows import SpendRow, bounded, call_of, key_of, provider_of


def read(row: Row, **providers: str) -> Call:
    return call_of(SpendRow.model_validate(row), "main", "litellm/main", providers)


def test_a_served_row() -> None:
    found = read(served("chatcmpl-1"), xb="provider-b")
    assert found == Call(
        id="chatcmpl-1",
        source="litellm/main",
        at=AT + timedelta(milliseconds=250),
        started=AT,
        call_id="chatcmpl-1",
        gateway="main",
        key=KEY,
        model_group="gpt-x",
        model="openai/fake",
        deployment="xb",
        provider="provider-b",
        usage=Usage(input=100, output=50, cached=40),
        cost_usd=0.0002,
    )


def test_the_deployment_tells_the_provider_before_the_row_does() -> None:
    assert read(served("a")).provider == "127.0.0.1:18998"
    assert read(served("a", api_base="")).provider == "openai"
    assert read(served("a", api_base=""), xb="127.0.0.1:1").provider == "127.0.0.1:1"


UPSTREAM_500: Row = {
    "error_code": "server_error",
    "error_class": "InternalServerError",
    "normalized_error": "500_PROVIDER_INTERNAL_ERROR",
}
UPSTREAM_429: Row = {
    "error_code": "429",
    "error_class": "RateLimitError",
    "normalized_error": "429_RATE_LIMIT_EXCEEDED",
    "error_rate_limit_category": "vendor_rate_limit",
}
OUR_429: Row = {
    "error_code": "429",
    "error_class": "ProxyRateLimitError",
    "normalized_error": "429_RATE_LIMIT_EXCEEDED",
    "error_rate_limit_category": "litellm_rate_limit",
    "error_rate_limit_type": "requests",
}
TIMEOUT: Row = {"error_code": "408", "error_class": "Timeout", "normalized_error": "408_UPSTREAM_TIMEOUT"}
UPSTREAM_401: Row = {
    "error_code": "401",
    "error_class": "AuthenticationError",
    "normalized_error": "401_AUTHENTICATION_FAILED",
}
COOLDOWN: Row = {
    "error_code": "",
    "error_class": "RouterRateLimitError",
    "normalized_error": "429_NO_HEALTHY_DEPLOYMENTS",
}
BLOCKED: Row = {"error_code": "", "error_class": "Exception", "normalized_error": "UNCLASSIFIED"}
BUDGET: Row = {
    "error_code": "422",
    "error_class": "BudgetExceededError",
    "normalized_error": "429_BUDGET_EXCEEDED",
    "error_rate_limit_category": "litellm_rate_limit",
    "error_rate_limit_type": "budget",
}
ANONYMOUS_429: Row = {"error_code": "429", "error_class": "HTTPException", "normalized_error": ""}
ONLY_ONE: Row = {"api_base": ""}
"""The real proxy names the deployment in a refusal of its own, where the group has no other."""

GATEWAY_500: Row = {"error_code": "500", "error_class": "ProxyException", "normalized_error": ""}


@pytest.mark.parametrize(
    ("error", "changes", "expected", "status"),
    [
        (UPSTREAM_500, {}, ErrorClass.SERVER, 500),
        (UPSTREAM_429, {}, ErrorClass.RATE_LIMITED, 429),
        (TIMEOUT, {}, ErrorClass.TIMEOUT, 408),
        (UPSTREAM_401, {}, ErrorClass.AUTH, 401),
        (OUR_429, NOBODY, ErrorClass.LIMITED, 429),
        (OUR_429, ONLY_ONE, ErrorClass.LIMITED, 429),
        ({**OUR_429, "error_rate_limit_category": None}, ONLY_ONE, ErrorClass.LIMITED, 429),
        (BUDGET, NOBODY, ErrorClass.LIMITED, 429),
        (ANONYMOUS_429, NOBODY, ErrorClass.LIMITED, 429),
        (COOLDOWN, {**NOBODY, "model_group": "gpt-x"}, ErrorClass.RATE_LIMITED, 429),
        (BLOCKED, NOBODY, ErrorClass.OTHER, None),
        (BLOCKED, ONLY_ONE, ErrorClass.OTHER, None),
        (GATEWAY_500, NOBODY, ErrorClass.OTHER, 500),
        (GATEWAY_500, ONLY_ONE, ErrorClass.OTHER, 500),
    ],
)
def test_invariant_12_whose_fault_a_failure_was(
    error: Row, changes: Row, expected: ErrorClass, status: int | None
) -> None:
    found = read(failed("gateway-id", error, **changes), xa="127.0.0.1:1")
    assert (found.error, found.http_status) == (expected, status)
    assert found.call_id == "gateway-id"
    assert (found.usage, found.cost_usd) == (Usage(), 0.0)
    assert (found.deployment, found.provider) == (("", "") if changes else ("xa", "127.0.0.1:1"))


@given(
    category=st.sampled_from(["litellm_rate_limit", None]),
    status=st.sampled_from(["", "408", "422", "429", "500", "503", "server_error", "None"]),
    kind=st.sampled_from(["ProxyRateLimitError", "HTTPException", "Exception", "Timeout", "APIError", ""]),
)
def test_invariant_12_a_row_that_reached_nobody_blames_no_provider(category: JsonValue, status: str, kind: str) -> None:
    error: Row = {"error_code": status, "error_class": kind, "error_rate_limit_category": category}
    found = read(failed("a", error, **NOBODY))
    assert found.error is not None
    assert not found.error.provider_fault


@pytest.mark.parametrize(
    ("kind", "api_base", "expected"),
    [
        ("openai", "https://api.openai.com/v1/", "openai"),
        ("openai", "", "openai"),
        ("openai", "http://127.0.0.1:18998/v1/", "127.0.0.1:18998"),
        ("openai", "https://llm.example.net/v1", "llm.example.net"),
        ("azure", "https://my-resource.openai.azure.com", "azure"),
        ("openai", "http://[broken", "openai"),
        ("", "http://vllm:8000/v1", "vllm:8000"),
        ("", "", ""),
    ],
)
def test_two_servers_of_one_kind_are_two_providers(kind: str, api_base: str, expected: str) -> None:
    assert provider_of(kind, api_base) == expected


def test_a_key_itself_goes_no_further() -> None:
    assert key_of(KEY) == KEY
    assert "sk-secret" not in key_of("sk-secret")
    assert len(key_of("sk-secret")) == 64


def test_an_id_too_long_for_the_inbox_is_replaced_by_its_digest() -> None:
    assert bounded("a" * 256) == "a" * 256
    assert len(bounded("a" * 257)) < 256
    assert bounded("a" * 257) != bounded("a" * 258)
    assert "\x00" not in bounded("a\x00")


@pytest.mark.parametrize("end", [None, "2025-12-31T23:59:59.000Z"])
def test_a_row_never_ends_before_it_started(end: str | None) -> None:
    found = read(served("a", endTime=end))
    assert found.at == found.started == AT


def test_instants_of_both_endpoints_and_naive_ones_are_utc() -> None:
    for text in ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000", "2026-01-01T02:00:00.000+02:00"):
        assert read(served("a", startTime=text)).started == AT


def test_an_endless_cost_is_no_cost() -> None:
    with pytest.raises(ValidationError):
        SpendRow.model_validate({**served("a"), "spend": float("inf")})
