"""Watchkeeper's own image for tests: what requirements/run.lock says, this checkout's source, this machine's Python.

The dependencies are installed once per lock, with their hashes, into the cache. It is NOT what helm/image/Dockerfile
makes: that has another C library and another Python, and the clouds' clients, which are left out here, a third of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.testbed.cache import default_cache, key, locked, step
from tests.testbed.kubernetes.images import Image, python

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements/run.lock"
IMAGE = "localhost/watchkeeper:test"
_RECIPE = "2"
_LEFT_OUT = ("azure", "botocore", "google/cloud", "grpc", "kubernetes/aio")
"""Large, and imported by nothing that runs in these tests: what needs one fails by name."""
_SITE, _SOURCE, _COMMAND = "/app/site", "/app/src", "/usr/bin/watchkeeper"
_LAUNCHER = "#!/usr/bin/python3\nfrom watchkeeper.cli.main import run\n\nrun()\n"


def image(dependencies: Path) -> Image:
    """`watchkeeper serve`, as user 1000; nothing in it has to be written."""
    base = python(IMAGE, {_SITE: dependencies / "site", _SOURCE: ROOT / "src"})
    environment = {**base.environment, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    files = {**base.files, _COMMAND: dependencies / "watchkeeper"}
    return replace(base, files=files, environment=environment, entrypoint=[_COMMAND], folder="/app")


def dependencies(cache: Path | None = None) -> Path:
    """The folder with what the lock names, made if it is not there yet."""
    cache = (cache or default_cache()).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    directory = cache / f"watchkeeper-{key([LOCK], _RECIPE, version, sys.platform)}"
    with locked(directory):
        if not directory.is_dir():
            work = Path(tempfile.mkdtemp(prefix=f"{directory.name}.unfinished-", dir=cache))
            try:
                _install(work)
                work.chmod(0o755)
                work.rename(directory)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return directory


def _install(work: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    where = ["--python", sys.executable, "--target", str(work / "site")]
    step([uv, "pip", "install", "--quiet", "--compile-bytecode", *where, "--require-hashes", "--requirements", LOCK])
    for name in _LEFT_OUT:
        shutil.rmtree(work / "site" / name)
    launcher = work / "watchkeeper"
    launcher.write_text(_LAUNCHER)
    launcher.chmod(0o755)
