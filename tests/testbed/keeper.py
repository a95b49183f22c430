"""Holds the name spaces of one machine of the testbed, and cleans up after it: a Kubernetes node, a Linux host.

A script of its own, run as root: `keeper.py FOLDER INSIDE`. It starts the script INSIDE as process 1 of new name spaces
(network, mounts, processes), as `INSIDE FOLDER GROUP`, and waits for its first line. Then it links the new network with
the machine's, writes `place.json` (see `Place`) into FOLDER, and waits. When it is asked to end, also by the kernel
because the test process died, it kills INSIDE: with that go all processes, mounts and links. Then it removes the
control groups and FOLDER. Killed by SIGKILL itself, it leaves empty control groups, which the next keeper removes, and
FOLDER.

Only the standard library: it has to start at once, and it is run without the project on its path.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "watchkeeper-testbed-"
_UNSHARE = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc", "--kill-child"]
_GONE_WITHIN_S = 20
_LINKS = 256


def keep(folder: Path, script: str) -> None:
    signal.signal(signal.SIGTERM, _stop)
    _sweep()
    group = f"{_PREFIX}{os.getpid()}"
    for hierarchy in hierarchies("cgroup", "cgroup2"):
        _make_group(hierarchy, group)
    command = ["setpriv", "--pdeathsig=KILL", "--", "unshare", *_UNSHARE, "--propagation", "private"]
    child = subprocess.Popen([*command, sys.executable, script, str(folder), group], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        if child.stdout.readline():
            [entered] = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
            _write(folder / "place.json", {"pid": int(entered), "group": group, **_link(entered)})
        sys.exit(child.wait())
    finally:
        child.kill()
        child.wait()
        for hierarchy in hierarchies("cgroup", "cgroup2"):
            _remove_group(hierarchy / group)
        shutil.rmtree(folder, ignore_errors=True)


def hierarchies(*versions: str) -> list[Path]:
    """Where control groups are mounted, `cgroup` (version 1) or `cgroup2`."""
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [Path(where.split()[4]) for where, what in mounts if what.split()[0] in versions]


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _link(pid: str) -> dict[str, str]:
    """A pair of interfaces, one end here and one in the network of `pid`; its name is the claim on its addresses."""
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
    for number in range(_LINKS):
        name, host, node = f"wktest{number}", f"198.18.{number}.1", f"198.18.{number}.2"
        made = ["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", pid]
        done = subprocess.run(made, capture_output=True, text=True, check=False)
        if "File exists" in done.stderr:
            continue
        if done.returncode != 0:
            sys.exit(f"no link to the machine's network: {done.stderr}")
        _run("ip", "address", "add", f"{host}/30", "dev", name)
        _run("ip", "link", "set", name, "up")
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "address", "add", f"{node}/30", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")
        _run(*inside, "route", "add", "default", "via", host)
        return {"host": host, "node": node}
    sys.exit(f"all {_LINKS} links to the machine's network are taken")


def _make_group(hierarchy: Path, group: str) -> None:
    path = hierarchy / group
    path.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group of version 1, and nothing may run in it then
        if (path / name).exists() and (hierarchy / name).exists():
            (path / name).write_text((hierarchy / name).read_text())


def _remove_group(path: Path) -> None:
    """From the leaves up; a group is busy until the kernel has buried its last process."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while path.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        if path.exists():
            time.sleep(0.05)


def _sweep() -> None:
    """Remove what keepers left that were killed."""
    for hierarchy in hierarchies("cgroup", "cgroup2"):
        for path in hierarchy.glob(f"{_PREFIX}*"):
            if not Path("/proc", path.name.removeprefix(_PREFIX)).exists():
                for folder, _, _ in os.walk(path, topdown=False):
                    with suppress(OSError):
                        Path(folder).rmdir()


def _write(path: Path, document: dict[str, object]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(document))
    draft.rename(path)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr}")


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2])
