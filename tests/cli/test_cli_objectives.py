"""What `watchkeeper objectives` prints."""

from __future__ import annotations

from typing import Any

import pytest
from tests.testbed.faces import Served

from watchkeeper.cli import client

from .conftest import Cli

OBJECTIVE = {"name": "served", "environment": "prod", "service": "chat", "target": 0.995, "period_s": 30 * 86_400}


def test_before_it_was_watched_nothing_is_said_to_be_good(cli: Cli, served: Served) -> None:
    said = cli("objectives")
    assert said.code == 0
    assert "prod/chat served, 0.99 good over 30 d" in said.out
    assert "not known: watched for less than a tenth of the period" in said.out
    (each,) = cli("objectives", "--json").json
    assert (each["reading"]["remaining"], each["reading"]["burns"]) == (None, [])


@pytest.mark.parametrize(("left", "drawn"), [(1.0, 30), (0.5, 15), (0.0, 0), (-2.0, 0)])
def test_what_is_left_is_drawn_in_80_columns(
    cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch, left: float, drawn: int
) -> None:
    burns = [{"window_s": each, "rate": 14.4} for each in (300, 1800, 3600, 21_600, 86_400, 259_200)]
    reading: dict[str, Any] = {"objective": "served", "remaining": left, "burns": burns}
    found = [{"objective": OBJECTIVE, "reading": reading}]
    monkeypatch.setattr(client.Client, "get", lambda self, path, **query: found)
    said = cli("objectives").out
    assert said.count("█") == drawn
    assert f"{left:.1%} left" in said
    assert "5m 14.40  30m 14.40  1h 14.40  6h 14.40  1d 14.40  3d 14.40" in said
    assert max(map(len, said.splitlines())) <= 80
