"""Looks at a Linux host, and changes it, without SSH: commands run inside from out here, files are opened directly.

It is root on the host, whatever sudo says, and works while the network of the host is cut. It does NOT go through the
host's cgroups: what it starts belongs to the test process.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.testbed.disks import Disk
from tests.testbed.hosts.recipe import DISK

_WITHIN_S = 60
_SHOWN = ("LoadState", "ActiveState", "SubState", "Result", "InvocationID", "MainPID", "NRestarts", "ExecMainStatus")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class HostDown(AssertionError):
    """The host is not up, or is just booting."""


class HostJudge:
    """`pid` is process 1 of the name spaces in which the host runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def leader(self) -> int:
        """The host's own process 1, as it is called out here; another one after each reboot."""
        for supervisor in _children(self._pid):
            for leader in _children(supervisor):
                status = Path(f"/proc/{leader}/status").read_text()
                if any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines()):
                    return leader
        raise HostDown("no process 1: the host is off, or on its way up")

    def path(self, place: str) -> Path:
        """A file of the host. Good until it reboots; symlinks to absolute paths would lead astray."""
        return Path(f"/proc/{self.leader}/root/{place.lstrip('/')}")

    def try_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the host's root."""
        enter = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        clean = ["--root", "--wd=/", "--", "env", "-i", _PATH, "LANG=C.UTF-8", "SYSTEMD_PAGER=cat"]
        return subprocess.run(
            [*enter, *clean, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )

    def run(self, *command: str) -> str:
        """Run a command that has to work; answers what it printed, less the end of the last line."""
        done = self.try_run(*command)
        assert done.returncode == 0, f"{' '.join(command)} ended with status {done.returncode}: {done.stderr}"
        return done.stdout.rstrip("\n")

    def write(self, place: str, text: str, *, mode: int = 0o644) -> None:
        """Another file, or another text in it, of the host's root."""
        path = self.path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def unit(self, name: str, properties: Sequence[str] = _SHOWN) -> dict[str, str]:
        """What systemd says about a unit, one that it does not know too."""
        shown = self.run("systemctl", "show", name, f"--property={','.join(properties)}")
        return dict(line.split("=", 1) for line in shown.splitlines())

    def install_unit(self, name: str, text: str) -> None:
        """A unit of the test's own, known but not started."""
        self.write(f"/etc/systemd/system/{name}", text)
        self.run("systemctl", "daemon-reload")

    def boot_id(self) -> str:
        return self.run("cat", "/proc/sys/kernel/random/boot_id")

    def pids(self, command: str) -> list[int]:
        """Who has this in its command line, by the host's own numbers."""
        found = self.try_run("pgrep", "--full", "--", command).stdout
        return [int(pid) for pid in found.split()]

    def started_at(self, pid: int) -> int | None:
        """In clock ticks since the machine booted, as /proc/PID/stat has it; None: there is no such process."""
        try:
            stat = self.path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(stat.rpartition(")")[2].split()[19])

    def journal(self, unit: str) -> list[str]:
        """What a unit has said, this boot and before."""
        return self.run("journalctl", f"--unit={unit}", "--output=cat", "--no-pager").splitlines()

    @property
    def disk(self) -> Disk:
        """The small file system at /var/log/app, to be filled and freed."""
        return Disk(self.path(DISK))


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
