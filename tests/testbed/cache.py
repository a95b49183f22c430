"""What the testbed builds once per machine: where it is kept, under which lock, and by which steps.

A build is locked against others of the same name, on this machine alone. Old versions in the cache are NOT removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STEP_TIMEOUT_S = 900
MARKER = ".complete"


class BuildFailed(AssertionError):
    """One step of a build did not work."""


def default_cache() -> Path:
    """Where builds are kept between runs."""
    given = os.environ.get("WATCHKEEPER_TESTBED_CACHE")
    return Path(given) if given else Path.home() / ".cache/watchkeeper-testbed"


def key(files: Iterable[Path], *facts: str) -> str:
    """A short digest of what determines a build."""
    digest = hashlib.sha256(" ".join(facts).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Nobody else builds `directory` meanwhile."""
    with directory.with_name(directory.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def finished(directory: Path) -> bool:
    """Whether `directory` was built to its end. The marker names its place: what was copied elsewhere does not count,
    since virtual environments do not move."""
    marker = directory / MARKER
    return marker.exists() and marker.read_text() == str(directory)


def built(directory: Path, make: Callable[[Path], None]) -> Path:
    """`directory`, filled by `make` if it is not finished yet. A build that was killed is thrown away by the next."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        if not finished(directory):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            make(directory)
            (directory / MARKER).write_text(str(directory))
    return directory


def step(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = STEP_TIMEOUT_S,
) -> str:
    """Run one command of a build to its end, and give back what it printed."""
    words = [os.fspath(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        shown = " ".join(words)[:2000]
        raise BuildFailed(f"{shown} ended with status {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout
