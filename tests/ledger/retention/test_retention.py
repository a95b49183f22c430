"""How long things are kept: periods as they are written, and what is due of each kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.ledger.retention.periods import RetentionSettings, due, length

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(("text", "days"), [("1d", 1), ("90d", 90), ("7y", 2555), ("100y", 36500)])
def test_a_period_is_days_or_years(text: str, days: int) -> None:
    assert length(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["", "0d", "90", "d", "1.5d", "-1d", "101y", "99999d", "7 d", "1h", "٣d"])
def test_anything_else_is_refused_with_what_is_right(text: str) -> None:
    with pytest.raises(ValidationError, match="like 90d or 7y"):
        RetentionSettings(evidence=text)


def test_evidence_is_kept_for_90_days_unless_its_kind_says_otherwise() -> None:
    settings = RetentionSettings(kinds={EvidenceKind.PROMPT: "7d"})
    before = {each.kind: NOW - each.before for each in due(settings, NOW)}
    assert before.keys() == set(EvidenceKind)
    assert before.pop(EvidenceKind.PROMPT) == timedelta(days=7)
    assert set(before.values()) == {timedelta(days=90)}


def test_entries_are_kept_for_ever_or_longer_than_what_they_refer_to() -> None:
    assert RetentionSettings().entries is None
    assert RetentionSettings(entries="7y").entries == "7y"
    with pytest.raises(ValidationError, match="as long as the evidence"):
        RetentionSettings(entries="30d")
    with pytest.raises(ValidationError, match="as long as the evidence"):
        RetentionSettings(entries="1y", kinds={EvidenceKind.ALERT: "2y"})
