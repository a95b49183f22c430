"""Builds Kubernetes from Debian's source package, and unpacks helm and kubectl, once per machine.

Everything is made in a folder beside its place and renamed when it is whole, so an interrupted build leaves nothing
that counts. What this does NOT show: the programs are Kubernetes 1.20.2, the last that Debian 12 can build; policy and
autoscaling are v1beta1 and v2beta2 there. etcd, containerd and runc are Debian's own and not part of the build.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.cache import default_cache, key, locked
from tests.testbed.kubernetes.recipe import VERSION, compile_programs, unpack_tools

_HERE = Path(__file__).parent
_INPUTS = ("recipe.py", "source.py", "tools.lock")


@dataclass(frozen=True)
class Installation:
    """The finished programs."""

    directory: Path

    def program(self, name: str) -> Path:
        return self.directory / name

    @property
    def kubectl(self) -> Path:
        """The official client, 1.37."""
        return self.program("kubectl")

    @property
    def helm(self) -> Path:
        """helm 4."""
        return self.program("helm")

    @property
    def pause(self) -> Path:
        """What holds the name spaces of a pod."""
        return self.program("pause")


def cached(cache: Path | None = None) -> Installation | None:
    """The programs of exactly these pins, if they were built here."""
    directory = _place(cache or default_cache())
    return Installation(directory) if directory.is_dir() else None


def build(cache: Path | None = None) -> Installation:
    """The programs of exactly these pins, made if they are not there yet."""
    cache = cache or default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    directory = _place(cache)
    with locked(directory):
        finished = cached(cache)
        if finished is not None:
            return finished
        for left in cache.glob(f"{directory.name}.unfinished-*"):
            shutil.rmtree(left, ignore_errors=True)  # a compiler of the build that was killed may still write there
        work = Path(tempfile.mkdtemp(prefix=f"{directory.name}.unfinished-", dir=directory.parent))
        made = work / "made"
        made.mkdir()
        unpack_tools(work / "tools", made)
        compile_programs(work, made)
        made.rename(directory)
        shutil.rmtree(work, ignore_errors=True)
        return Installation(directory)


def _place(cache: Path) -> Path:
    return cache.resolve() / f"kubernetes-{VERSION}-{key([_HERE / name for name in _INPUTS], sys.platform)}"
