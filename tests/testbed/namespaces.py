"""Name spaces of one machine of the testbed (network, mounts, processes), held by keeper.py: `with name_spaces(...)`.

With the block, and also when the test process is killed, all goes: processes, mounts, links, control groups, the
folder. Needs root, and Linux.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.process import ChildProcess

_READY_WITHIN_S = 120


@dataclass(frozen=True)
class Place:
    """The name spaces, and the folder of what lies in them. `pid` is their process 1, as it is called out here."""

    folder: Path
    pid: int
    group: str
    host: str
    """The address of our end of the link into its network."""
    node: str
    """The address of the other end."""

    def enter(self) -> list[str]:
        """What to put before a command that is to run inside."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--ipc", "--uts", "--"]


@contextmanager
def name_spaces(
    script: Path, *, log: Path, prefix: str, seed: Sequence[tuple[str, str]] = ()
) -> Iterator[tuple[Place, ChildProcess]]:
    """`script` runs as process 1 inside, see keeper.py; `seed` are files that it finds in the folder.

    The folder's path is short: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    for name, text in seed:
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    described = folder / "place.json"
    keeper = ChildProcess(
        "keeper", [sys.executable, Path(__file__).with_name("keeper.py"), folder, script], log=log, death_signal="TERM"
    )
    with keeper:
        keeper.wait_until(described.exists, timeout_s=_READY_WITHIN_S, what="name spaces")
        yield Place(folder=folder, **json.loads(described.read_text())), keeper
