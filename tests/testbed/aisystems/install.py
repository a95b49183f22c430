"""Installs the real AI systems of the testbed once per machine, each into a place of its own in the cache.

By hash, from the package indexes that uv and npm are configured with. Each is locked and finished by itself
(`cache.built`), and a changed lock makes a new place. Old ones in the cache are NOT removed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from tests.testbed.cache import built, default_cache, finished, key, step

PINS = Path(__file__).parent / "pins"


@dataclass(frozen=True)
class System:
    """One system to install; `locks` are its inputs, below pins/."""

    name: str
    version: str
    locks: tuple[str, ...]
    install: Callable[[System, Path], None]
    tools: tuple[str, ...] = ()

    def place(self, cache: Path) -> Path:
        """A directory of its own for each set of inputs and each Python."""
        pins = key((PINS / name for name in self.locks), str(sys.version_info[:2]), sys.platform)
        return cache.resolve() / f"{self.name}-{self.version}-{pins}"

    def missing_tools(self) -> str | None:
        """What this machine lacks to build or run it."""
        missing = [tool for tool in self.tools if shutil.which(tool) is None]
        return f"{', '.join(missing)} for {self.name}: apt-get install nodejs npm" if missing else None


def cached(system: System, cache: Path | None = None) -> Path | None:
    """Where it is, if it was finished here with exactly these pins."""
    place = system.place(cache or default_cache())
    return place if finished(place) else None


def build(system: System, cache: Path | None = None) -> Path:
    """Where it is, made if it is not there yet."""
    return built(system.place(cache or default_cache()), lambda place: system.install(system, place))


def _python(system: System, place: Path) -> None:
    uv, python = find_uv_bin(), str(place / "venv/bin/python")
    step([uv, "venv", "--quiet", "--python", sys.executable, str(place / "venv")])
    lock = str(PINS / system.locks[0])
    install = [uv, "pip", "install", "--quiet", "--python", python, "--compile-bytecode", "--require-hashes"]
    step([*install, "-r", lock])


def _node(system: System, place: Path) -> None:
    for name in system.locks:
        shutil.copyfile(PINS / name, place / Path(name).name)
    step(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=place)


PHOENIX = System("phoenix", "20.26.1", ("phoenix.lock",), _python)
ENVOY = System("envoy", "1.40.0", ("envoy.lock",), _python)
LANGGRAPH = System("langgraph-api", "0.16.7", ("langgraph.lock",), _python)
CHROMA = System("chroma", "1.5.9", ("chroma.lock",), _python)
PORTKEY = System(
    "portkey", "1.15.2", ("portkey/package.json", "portkey/package-lock.json"), _node, tools=("node", "npm")
)
CLIENTS = System("ai-clients", "1", ("clients.lock",), _python)
"""The vendors' own clients of what is faked here: they have dependencies that ours must not have."""
SYSTEMS = (PHOENIX, ENVOY, LANGGRAPH, CHROMA, PORTKEY, CLIENTS)
