"""Policies that a command is given: files, folders, `-` for standard input, shipped packs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchkeeper.policies.compile import Policy

PACK, STDIN = "pack:", "-"


def texts(paths: list[Path]) -> list[tuple[str, str]]:
    """Names and contents; whether they are documents is for others to say. Raises PolicyError."""
    from watchkeeper.policies.load import texts

    piped = [("(standard input)", sys.stdin.read())] if Path(STDIN) in paths else []
    return [*piped, *texts(*(path for path in paths if path != Path(STDIN)))]


def compiled(names: list[str]) -> Policy:
    """One policy of all that is named. Raises PolicyError with file:line."""
    from watchkeeper.policies.compile import compile_policy
    from watchkeeper.policies.load import PolicySet, from_texts, pack

    paths = [Path(name) for name in names if not name.startswith(PACK)]
    sets = [pack(name.removeprefix(PACK)) for name in names if name.startswith(PACK)]
    if paths:
        sets.append(from_texts(dict(texts(paths)), ", ".join(map(str, paths))))
    documents = tuple(document for each in sets for document in each.documents)
    return compile_policy(PolicySet(documents, {node: place for each in sets for node, place in each.places.items()}))
