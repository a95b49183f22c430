"""What is taken out of evidence, what is left alone, and that JSON stays JSON. The credentials here are made up."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from time import process_time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.testbed.secrets import KNOWN, Sample, benign, measure, secrets

from watchkeeper.ledger.evidence.redaction import Redactor

KNOWN_VALUE = Redactor([SecretStr(KNOWN)])
SAMPLES = secrets()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_secret_is_taken_out(sample: Sample) -> None:
    clean = KNOWN_VALUE.redact(sample.text.encode()).decode()
    assert [value for value in sample.gone if value in clean] == []
    assert [value for value in sample.stays if value not in clean] == []
    assert "[redacted:" in clean
    assert KNOWN_VALUE.redact(clean.encode()).decode() == clean
    if is_json(sample.text):
        json.loads(clean)


def test_telemetry_and_talk_come_through_as_they_are() -> None:
    bodies = benign()
    assert len(bodies) > 2000
    assert [body for body in bodies if KNOWN_VALUE.redact(body.encode()).decode() != body] == []


def test_what_the_log_and_the_signals_hold_comes_through_as_it_is() -> None:
    """The golden entries and signals, and a plan of the demo: what an erased body is not worth losing."""
    files = [*Path("tests/ledger/golden").rglob("*.json*"), *Path("tests/signals/golden").rglob("*.json*")]
    assert len(files) > 30
    for file in files:
        assert KNOWN_VALUE.redact(file.read_bytes()) == file.read_bytes(), file


def test_the_rates_in_the_docs_are_those_measured() -> None:
    rates = measure(KNOWN_VALUE)
    said = f"{rates.found} of {rates.secrets} secrets found, {rates.benign - rates.unchanged} of {rates.benign} others"
    assert said in " ".join(Path("docs/evidence.md").read_text().split())


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
    assert redactor.holds_known(json.dumps({"x": secret}).encode())
    assert not redactor.holds_known(b"a short word")


def test_the_longest_known_secret_wins() -> None:
    redactor = Redactor([SecretStr("abcdef"), SecretStr("abcdefghij")])
    assert redactor.redact(b"<abcdefghij>") == b"<[redacted:secret]>"


def test_a_value_ends_where_the_json_around_it_says() -> None:
    inner = json.dumps({"value": ["AUTHORIZATION:DIGEST 000"], "text": "x"})
    clean = Redactor().redact(json.dumps({"value": inner}).encode())
    assert json.loads(json.loads(clean)["value"])["text"] == "x"


def test_a_redactor_does_not_show_what_it_looks_for() -> None:
    assert "abcdef" not in repr(Redactor([SecretStr("abcdef")]))


NAMES = st.sampled_from(["password", "api_key", "token", "Cookie", "phone", "card", "x"]) | st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TEXTS = st.sampled_from([sample.text for sample in SAMPLES]) | st.text()
json_values = st.recursive(
    SCALARS | TEXTS | st.integers(min_value=4 * 10**15, max_value=5 * 10**15),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(json_values, TEXTS, st.booleans(), st.integers(0, 2))
def test_json_stays_json(value: object, text: str, ascii_only: bool, depth: int) -> None:
    whole: object = {"value": value, "text": text}
    for _ in range(depth):
        whole = {"value": json.dumps(whole, ensure_ascii=ascii_only), "text": "x"}
    body = json.dumps(whole, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    clean = KNOWN_VALUE.redact(body)
    json.loads(clean.decode("utf-8", "surrogatepass"))  # one text, at the worst, where a value went across its marks
    assert KNOWN_VALUE.redact(clean) == clean


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=6, max_size=40), json_values)
@example("::::::", None)
def test_no_known_value_survives(secret: str, value: object) -> None:
    """Whatever it is made of: marks of JSON, escapes, digits that stand as a number."""
    assume(secret not in "[redacted:secret]")
    redactor = Redactor([SecretStr(secret)])
    for body in (secret, json.dumps({"a": secret, "b": value}), json.dumps(json.dumps([secret])), f"x{secret}y"):
        clean = redactor.redact(body.encode())
        assert secret.encode() not in clean.replace(b"[redacted:secret]", b"\0")
        assert redactor.redact(clean) == clean
        assert not is_json(body) or is_json(clean.decode())


def test_a_known_value_that_is_a_number_of_json_leaves_one_text() -> None:
    clean = Redactor([SecretStr("123456")]).redact(b'{"n": 123456, "m": 1}')
    assert json.loads(clean) == '{"n": [redacted:secret], "m": 1}'


@given(st.binary(max_size=400))
def test_redacting_again_changes_nothing(body: bytes) -> None:
    once = KNOWN_VALUE.redact(body)
    assert KNOWN_VALUE.redact(once) == once


@given(
    st.lists(st.sampled_from([sample.text for sample in SAMPLES] + ["\\", '"', " ", "=", ":", "@", "1"]), max_size=6)
)
def test_redacting_again_what_was_run_together_changes_nothing(parts: list[str]) -> None:
    once = KNOWN_VALUE.redact("".join(parts).encode())
    assert KNOWN_VALUE.redact(once) == once


HOSTILE = (
    *(
        "a",
        "eyJaaaaaaaa.",
        "eyJ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----a ",
        "-",
        "://a:",
        "://a:a@",
    ),
    *(
        "password=",
        'password":"',
        'password\\":\\"',
        "password: '",
        "a@",
        "sk-",
        "sk-a",
        "a.",
        "xoxb-1-",
        "key=",
        "?sig=",
    ),
    *(
        "curl -u",
        "curl -u a:",
        "mysql -p",
        "redis-cli -a ",
        "1",
        "1 ",
        "1-",
        "+1",
        "4111 ",
        "4111111111111111 ",
        "DE89",
    ),
    *(
        "AKIAQWERTY234567ASDF ",
        "x-forwarded-for: 1.1.1.1,",
        "authorization: digest ",
        "cookie=",
        "cookie: a=",
        "\\",
        "\\n",
    ),
    *(
        '\\"',
        '"',
        "[redacted:email]",
        "Private-Lines: 1\n a\n",
        "bearer a",
        "%40",
        "ann@example.com ",
        "+442083661177 ",
    ),
    *("token: abcdefgh1234567890X ", "650-253-0000 ", "123-45-6789 ", "login a password ", "phone 1", "\0", "ÿ"),
)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.timeout(60)
def test_a_hostile_body_costs_no_more_than_its_length(unit: str) -> None:
    """Four times the body takes about four times the time; its square would take sixteen times."""
    took = []
    for size in (65_536, 262_144):
        body = (unit * (size // len(unit))).encode()
        tries = []
        for _ in range(3):
            began = process_time()
            KNOWN_VALUE.redact(body)
            tries.append(process_time() - began)
        took.append(min(tries))
    assert took[1] < 12 * took[0] + 0.1, took
    assert took[0] < 1, took


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
