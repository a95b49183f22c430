"""Installs the pinned LiteLLM proxy once per machine, into a cache that tests share.

The installation is built in its final place (virtual environments do not move) under a lock, and counts only once its
marker is written: a build that was killed is thrown away by the next. Downloads come from the package indexes that uv
and npm are configured with, by hash. Old versions in the cache are NOT removed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from tests.testbed.cache import default_cache, key, locked, step

VERSION = "1.106.2"
_HERE = Path(__file__).parent
_INPUTS = ("requirements.lock", "package.json", "package-lock.json", "engine.js", "install.py")
_MARKER = ".complete"


@dataclass(frozen=True)
class Installation:
    """A finished installation."""

    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "venv/bin/python"

    @property
    def command(self) -> Path:
        """The proxy's command line."""
        return self.directory / "venv/bin/litellm"

    @property
    def site_packages(self) -> Path:
        return next((self.directory / "venv/lib").glob("python3.*/site-packages"))

    @property
    def schema(self) -> Path:
        """The Prisma schema of the proxy's database."""
        return self.site_packages / "litellm/proxy/schema.prisma"

    @property
    def migrations(self) -> tuple[Path, ...]:
        """The SQL that makes the proxy's tables, in order."""
        return tuple(sorted((self.site_packages / "litellm_proxy_extras/migrations").glob("*/migration.sql")))

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes Prisma use our engine and look for no other."""
        return {
            "PATH": f"{self.directory / 'venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "PRISMA_QUERY_ENGINE_BINARY": str(self.directory / "query-engine"),
            "PRISMA_SCHEMA_ENGINE_BINARY": str(self.directory / "schema-engine"),
            "PRISMA_CLI_QUERY_ENGINE_TYPE": "binary",
            "CHECKPOINT_DISABLE": "1",
            "PRISMA_HIDE_UPDATE_MESSAGE": "1",
        }


def missing_tools() -> str | None:
    """What this machine lacks to build or run the proxy."""
    missing = [tool for tool in ("node", "npm", "psql") if shutil.which(tool) is None]
    if not missing:
        return None
    return f"{', '.join(missing)} for the LiteLLM proxy: apt-get install nodejs npm postgresql-client"


def cached(cache: Path | None = None) -> Installation | None:
    """The installation of exactly these pins, if it was finished here."""
    directory = _place(cache or default_cache())
    marker = directory / _MARKER
    # The marker names its place: a cache that was copied elsewhere would run, or break, on the old one.
    if marker.exists() and marker.read_text() == str(directory):
        return Installation(directory)
    return None


def build(cache: Path | None = None) -> Installation:
    """The installation of exactly these pins, made if it is not there yet."""
    cache = cache or default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    directory = _place(cache)
    with locked(directory):
        finished = cached(cache)
        if finished is not None:
            return finished
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        installation = Installation(directory)
        _install_python(installation)
        _install_engine(installation)
        _generate_client(installation)
        (directory / _MARKER).write_text(str(directory))
        return installation


def _place(cache: Path) -> Path:
    """A directory of its own for each set of inputs and each Python."""
    pins = key((_HERE / name for name in _INPUTS), str(sys.version_info[:2]), sys.platform)
    return cache.resolve() / f"litellm-{VERSION}-{pins}"


def _install_python(installation: Installation) -> None:
    uv = find_uv_bin()
    step([uv, "venv", "--quiet", "--python", sys.executable, str(installation.directory / "venv")])
    lock = str(_HERE / "requirements.lock")
    step([uv, "pip", "install", "--quiet", "--python", str(installation.python), "--require-hashes", "-r", lock])


def _install_engine(installation: Installation) -> None:
    node = installation.directory / "node"
    node.mkdir()
    for name in ("package.json", "package-lock.json", "engine.js"):
        shutil.copyfile(_HERE / name, node / name)
    step(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=node)
    _script(installation.directory / "query-engine", f'exec node "{node / "engine.js"}" "$@"')
    # Prisma wants a migration engine to exist; we apply the migrations ourselves.
    _script(installation.directory / "schema-engine", "exit 0")


def _generate_client(installation: Installation) -> None:
    prisma = installation.directory / "node/node_modules/prisma/build/index.js"
    command = ["node", str(prisma), "generate", "--schema", str(installation.schema)]
    step(command, env={**os.environ, **installation.environment})


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
