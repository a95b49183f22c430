"""Real file systems that a test may fill or break. They need the right to mount; where that is missing, a test skips.

`small_disk` is memory, full when its size is used up. `breakable_disk` is ext4 in a file, and goes read-only as a
damaged one does: for those who have files open too, which `mount -o remount,ro` refuses.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.testbed.peers import require_peer

HOW = "the right to mount a file system: run the tests as root, on a machine or in a container that may mount"


class Disk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Until nothing more fits."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def free(self) -> None:
        self._filler.unlink()


class BreakableDisk(Disk):
    def __init__(self, path: Path, device: str) -> None:
        super().__init__(path)
        self._device = device

    def break_down(self) -> None:
        """An error of the file system, as it meets one itself: from now on it only reads."""
        Path(f"/sys/fs/ext4/{Path(self._device).name}/trigger_fs_error").write_text("a test")

    def repair(self) -> None:
        """As an administrator does it: nobody may have a file open."""
        _run("umount", self.path)
        _run("fsck.ext4", "-y", self._device, accept=(0, 1))
        _run("mount", "-o", "errors=remount-ro", self._device, self.path)


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[Disk]:
    path.mkdir()
    require_peer(_done("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "watchkeeper-test", path), HOW)
    try:
        yield Disk(path)
    finally:
        _run("umount", "-l", path)


@contextmanager
def breakable_disk(path: Path, mib: int) -> Iterator[BreakableDisk]:
    path.mkdir()
    image = path.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(mib << 20)
    require_peer(_done("mkfs.ext4", "-q", "-F", image), "mkfs.ext4: apt-get install e2fsprogs")
    found = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=False)
    require_peer(found.returncode == 0, HOW)
    device = found.stdout.strip()
    try:
        require_peer(_done("mount", "-o", "errors=remount-ro", device, path), HOW)
        try:
            yield BreakableDisk(path, device)
        finally:
            _run("umount", "-l", path)
    finally:
        _run("losetup", "-d", device)


def _done(*argv: str | os.PathLike[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _run(*argv: str | os.PathLike[str], accept: Sequence[int] = (0,)) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in accept, done.stderr
