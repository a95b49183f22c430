"""Help fits 80 columns, is fast because nothing heavy is loaded, and every command that a text names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import watchkeeper
from watchkeeper.cli.main import app

from .conftest import Cli

HEAVY = ("langgraph", "langchain_core", "sqlalchemy", "fastapi", "uvicorn", "httpx", "alembic")
SOURCE = Path(watchkeeper.__file__).parent


DRAWN = {("policy", "graph"), ("policy", "schema")}
"""They print a document of its own form: SVG, and JSON anyway."""


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, as the words that call it."""
    at = typer.main.get_command(app) if group is None else group
    yield words
    for name, command in getattr(at, "commands", {}).items():
        yield from commands(command, (*words, name))


@pytest.mark.parametrize("words", list(commands()), ids=lambda words: "-".join(words) or "root")
def test_help_fits_80_columns_and_says_something(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli(*words, "--help")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    assert len(said.out.split()) > 10


@pytest.mark.parametrize("words", [w for w in commands() if w], ids="-".join)
def test_every_command_is_documented(words: tuple[str, ...]) -> None:
    page = (SOURCE.parent.parent / "docs" / "cli.md").read_text()
    assert f"`watchkeeper {' '.join(words)}`" in page


def test_help_loads_nothing_heavy() -> None:
    look = (
        "import sys\nfrom watchkeeper.cli import main\nsys.argv = ['watchkeeper', '--help']\n"
        "try:\n    main.run()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_every_command_that_an_error_names_exists() -> None:
    known = set(commands())
    named: set[tuple[str, ...]] = set()
    for file in SOURCE.rglob("*.py"):
        for text in re.findall(r'next_step=f?"watchkeeper((?: [a-z]+(?:-[a-z]+)*)+)', file.read_text()):
            named.add(tuple(text.split()))
    groups = {words[:1] for words in known if len(words) == 2}
    missing = [w for w in named if w and w[:1] not in known | groups]
    missing += [w for w in named if w[:1] in groups and len(w) > 1 and w[:2] not in known]
    assert missing == []


def test_json_is_offered_wherever_something_is_told(cli: Cli) -> None:
    groups = {words[:-1] for words in commands() if words}
    for words in commands():
        if words and words not in groups and words[0] not in ("serve", "demo", "lab") and words not in DRAWN:
            assert "--json" in cli(*words, "--help").out, words


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out == f"watchkeeper {watchkeeper.__version__}\n"
