"""Builds the root of a Linux host, once per machine. Needs root and the Debian mirror.

Everything is made beside its place and renamed when it is whole, so an interrupted build leaves nothing that counts.
The packages are those that the mirror offers on that day: the cache does NOT follow later updates.
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.cache import default_cache, key, locked
from tests.testbed.hosts.recipe import make_root

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Installation:
    """The finished root. Nothing writes into it: a host's writes go to an overlay of its own."""

    root: Path


def cached(cache: Path | None = None) -> Installation | None:
    """The root of exactly this recipe, if it was built here."""
    root = _place(cache or default_cache())
    return Installation(root) if root.is_dir() else None


def build(cache: Path | None = None) -> Installation:
    """The root of exactly this recipe, made if it is not there yet."""
    cache = cache or default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    root = _place(cache)
    with locked(root):
        finished = cached(cache)
        if finished is not None:
            return finished
        work = root.with_name(root.name + ".unfinished")
        shutil.rmtree(work, ignore_errors=True)
        make_root(work)
        work.rename(root)
        return Installation(root)


def _place(cache: Path) -> Path:
    inputs = [_HERE / "recipe.py", *sorted((_HERE / "files").iterdir())]
    return cache.resolve() / f"host-{key(inputs, platform.machine())}"
