"""The command line as its users run it, against a served API over real rooms."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.faces import Served, serving

from watchkeeper.cli.main import run


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Said]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("WATCHKEEPER_CONFIG", raising=False)

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["watchkeeper", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return Said(ended.value.code if isinstance(ended.value.code, int) else 0, said.out, said.err)

    return call


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(tmp_path) as running:
        monkeypatch.setenv("WATCHKEEPER_API_URL", running.url)
        monkeypatch.setenv("WATCHKEEPER_TOKEN", running.token)
        yield running
