"""Quantities are spelled as the API server spells them: the examples are the server's own."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.adapters.kubernetes.quantity import QUANTITY, canonical

DECIMAL = {"m": Fraction(1, 1000), "": Fraction(1)} | {
    letter: Fraction(1000**power) for power, letter in enumerate("kMGTP", start=1)
}
BINARY = {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTP", start=1)}


@pytest.mark.parametrize(
    ("given_", "spelled"),
    [
        ("1024Mi", "1Gi"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("134217728", "134217728"),
        ("1000000", "1M"),
        ("1.5Gi", "1536Mi"),
        ("0.1Gi", "107374182400m"),
        ("100m", "100m"),
        ("0", "0"),
        ("0Mi", "0"),
        ("1500m", "1500m"),
        ("2000", "2k"),
        ("64Mi", "64Mi"),
    ],
)
def test_the_servers_spelling(given_: str, spelled: str) -> None:
    assert canonical(given_) == spelled


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1 Gi", "1Zi", "Mi", "1.Mi", "1u", "+5"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        canonical(text)


@given(st.from_regex(QUANTITY, fullmatch=True).filter(lambda text: text.isascii() and len(text) <= 16))
def test_a_spelling_is_stable_and_worth_the_same(text: str) -> None:
    spelled = canonical(text)
    assert canonical(spelled) == spelled
    assert 0 <= value(spelled) - value(text) < Fraction(1, 1000)


def value(text: str) -> Fraction:
    number, suffix = re.fullmatch(r"([0-9.]+)(.*)", text).groups()  # type: ignore[union-attr]
    return Fraction(number) * (DECIMAL | BINARY)[suffix]
