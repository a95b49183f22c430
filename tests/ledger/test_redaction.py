"""What is taken out of evidence, what is left alone, and that JSON stays JSON. The credentials here are made up."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from watchkeeper.ledger.redaction import Redactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SECRETS = {
    "bearer": ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef"),
    "bearer in JSON": ('{"authorization": "bearer AbC.dEf-123_456~789=="}', "AbC.dEf-123_456~789=="),
    "basic": ("authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
    "gateway key": ('{"key": "sk-1234567890abcdefghij"}', "sk-1234567890abcdefghij"),
    "provider key": ("OPENAI_API_KEY=sk-proj-abc_DEF-0123456789", "sk-proj-abc_DEF-0123456789"),
    "AWS id": ("using AKIAIOSFODNN7EXAMPLE now", "AKIAIOSFODNN7EXAMPLE"),
    "AWS secret": (
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    "postgres": ("postgresql+psycopg://watch:hunter2@db.internal/wk", "hunter2"),
    "redis": ("redis://:s3cr3t-pass@cache:6379/0", "s3cr3t-pass"),
    "mail": ("please ask ann.smith+oncall@mail.example.com about it", "ann.smith+oncall@mail.example.com"),
    "JWT": (f"cookie: session={JWT}", JWT),
    "GitHub": ("token ghp_" + "a1B2" * 9, "ghp_" + "a1B2" * 9),
    "Slack": ("xoxb-123456789012-abcdefghijkl", "xoxb-123456789012-abcdefghijkl"),
    "Google": ("key=AIza" + "SyA-0123" * 4 + "abc", "AIza" + "SyA-0123" * 4 + "abc"),
    "PEM": ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    "our signing key": (
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
        "AYEKFALVFGyNhPJEMzD1QIDr",
    ),
    "assigned": ("password: correct-horse", "correct-horse"),
    "in JSON": ('{"master_key": "not-so-secret", "n": 1}', "not-so-secret"),
    "in JSON in JSON": (json.dumps({"body": json.dumps({"client_secret": "deep-secret"})}), "deep-secret"),
    "header": ("x-api-key: 0123456789abcdef", "0123456789abcdef"),
}
HARMLESS = [
    '{"prompt_tokens": 12345678, "completion_tokens": 100}',
    '{"api_key_hash": "9f86d081884c7d659a2feaa0c55ad015"}',
    "the bearer of bad news: basic functionality broke at http://host:8080/v1/chat",
    "risk-based routing, task-force, whisk-broom",
    "user@host has no domain, and a@b neither",
    '{"password": null, "at": "2026-01-02T03:04:05.000001Z", "api_key": 12345678}',
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_taken_out(name: str) -> None:
    text, secret = SECRETS[name]
    clean = Redactor().redact(text.encode()).decode()
    assert secret not in clean
    assert "[redacted:" in clean
    if text.startswith("{"):
        json.loads(clean)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert Redactor().redact(text.encode()).decode() == text


def test_what_names_a_secret_is_kept() -> None:
    clean = Redactor().redact(b"postgresql://watch:hunter2@db/wk and Authorization: Bearer abcdef0123456789").decode()
    assert clean == "postgresql://watch:[redacted:password]@db/wk and Authorization: Bearer [redacted:bearer]"


def test_a_known_secret_is_found_in_every_spelling() -> None:
    secret = 'pa"ss/wörd+1'
    redactor = Redactor([SecretStr(secret), SecretStr("short")])
    for text in (
        secret,
        json.dumps({"x": secret}),
        json.dumps({"x": secret}, ensure_ascii=False),
        "https://h/?k=pa%22ss%2Fw%C3%B6rd%2B1&y=1",
        base64.b64encode(secret.encode()).decode(),
    ):
        clean = redactor.redact(text.encode())
        assert b"[redacted:secret]" in clean, text
        assert secret.encode() not in clean
    assert redactor.redact(b"a short word") == b"a short word"


def test_the_longest_known_secret_wins() -> None:
    redactor = Redactor([SecretStr("abcdef"), SecretStr("abcdefghij")])
    assert redactor.redact(b"<abcdefghij>") == b"<[redacted:secret]>"


def test_a_redactor_does_not_show_what_it_looks_for() -> None:
    assert "abcdef" not in repr(Redactor([SecretStr("abcdef")]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["password", "api_key", "token", "x"]) | st.text(max_size=8), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(json_values, st.sampled_from([text for text, _ in SECRETS.values()]), st.booleans())
def test_json_stays_json(value: object, secret: str, ascii_only: bool) -> None:
    body = json.dumps({"value": value, "text": secret}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    clean = Redactor([SecretStr("password: correct-horse")]).redact(body)
    assert json.loads(clean.decode("utf-8", "surrogatepass")).keys() == {"value", "text"}


@given(st.binary(max_size=400))
def test_redacting_again_changes_nothing(body: bytes) -> None:
    redactor = Redactor([SecretStr("known-secret")])
    for text in (body, *(text.encode() for text, _ in SECRETS.values())):
        once = redactor.redact(text)
        assert redactor.redact(once) == once


@pytest.mark.parametrize(
    "unit", [b"a", b"eyJaaaaaaaa.", b"-----BEGIN PRIVATE KEY-----", b"://a:", b"password=", b"a@", b"sk-", b"a.", b" "]
)
@pytest.mark.timeout(30)
def test_a_hostile_body_costs_no_more_than_its_length(unit: bytes) -> None:
    """A pattern that reads a mebibyte more than a bounded number of times would take hours."""
    body = unit * (1_048_576 // len(unit))
    assert unit[:1] in Redactor().redact(body)
