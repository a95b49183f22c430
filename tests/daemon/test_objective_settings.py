"""Objectives in the settings: what is wrong is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchkeeper.core.errors import ConfigError
from watchkeeper.daemon.settings import load

SERVICES = "environment: prod\nservices: [{name: chat}]\n"


def read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(SERVICES + text)
    load(file, {})


def test_an_objective_is_of_the_environment_where_none_is_written(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(SERVICES + "objectives: [{name: served, service: chat, target: 0.99}]\n")
    (objective,) = load(file, {}).objectives
    assert (objective.environment, objective.period_s) == ("prod", 30 * 86_400)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "objectives: [{name: served, service: chatt, target: 0.99}]",
            'no service prod/chatt (did you mean "prod/chat"?)',
        ),
        ("objectives: [{name: served, service: chat, target: 1}]", "target"),
        ("objectives: [{name: served, service: chat, target: 0.99, perod_s: 1}]", "perod_s"),
        ("objectives: [{name: a, service: chat, target: 0.9, bad_series: x}]", "bad_series and total_series together"),
        (
            "objectives: [{name: a, service: chat, target: 0.9, bad_series: x, total_series: y}]",
            "no prometheus query 'x'",
        ),
        (
            "objectives: [{name: a, service: chat, target: 0.9}, {name: a, service: chat, target: 0.8}]",
            "prod/chat/a",
        ),
        ("objectives: [{name: a, service: chat, target: 0.9, period_s: 60}]", "period_s"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text + "\n")
    assert said in str(caught.value) + caught.value.place + caught.value.cause
