"""Holds the name spaces of one node, and cleans up after it. A script of its own: `keeper.py FOLDER`, as root.

The outer half lives in the machine's own name spaces. It starts the inner half as process 1 of new ones (network,
mounts, processes), writes `node.json` (the process to enter, the addresses of both ends of the link) into FOLDER, and
waits. When it is asked to end, also by the kernel because the test process died, it kills the inner half: with that go
all processes, mounts and links of the node. Then it removes the control groups and FOLDER. Killed by SIGKILL itself, it
leaves empty control groups, which the next keeper removes, and FOLDER.

Only the standard library: it has to start at once. What the node writes into fixed places of the machine (/run,
/var/lib, /var/log) goes into memory that only the node sees, and kernel settings of the whole machine stay as they are.
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
SHADOWED = ("/run", "/var/lib", "/var/log")
"""Here a node sees folders of its own instead of the machine's."""
# A kubelet insists on these, and would set them for the whole machine: it is shown that they are so already.
_WANTED_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def outer(folder: Path) -> None:
    signal.signal(signal.SIGTERM, _stop)
    _sweep()
    group = f"{_PREFIX}{os.getpid()}"
    for hierarchy in hierarchies("cgroup"):
        _make_group(hierarchy, group)
    network = os.open("/proc/self/ns/net", os.O_RDONLY)
    command = ["setpriv", "--pdeathsig=KILL", "--", "unshare", *_UNSHARE, "--propagation", "private"]
    inside = [sys.executable, __file__, "inside", str(folder), str(network)]
    child = subprocess.Popen([*command, *inside], stdout=subprocess.PIPE, pass_fds=(network,))
    try:
        assert child.stdout is not None
        answer = child.stdout.readline()
        if answer:
            [entered] = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
            _write(folder / "node.json", {**json.loads(answer), "pid": int(entered), "group": group})
        sys.exit(child.wait())
    finally:
        child.kill()
        child.wait()
        for hierarchy in hierarchies("cgroup", "cgroup2"):  # the node's programs make one in version 2 as well
            _remove_group(hierarchy / group)
        shutil.rmtree(folder, ignore_errors=True)


def inside(folder: Path, network: str) -> None:
    """Process 1 of the new name spaces: sets them up, says so, and buries the dead."""
    _run("mount", "--make-rshared", "/")
    for place in SHADOWED:
        _run("mount", "-t", "tmpfs", "-o", "mode=755,size=1g", "watchkeeper-testbed", place)
    _mask_settings(Path("/run"))
    _run("hostname", "testbed-node")
    _run("ip", "link", "set", "lo", "up")
    number = _link(f"/proc/1/fd/{network}")
    print(json.dumps({"host": f"198.18.{number}.1", "node": f"198.18.{number}.2"}), flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps what has lost its parent
    while True:
        signal.pause()


def hierarchies(*versions: str) -> list[Path]:
    """Where control groups are mounted, `cgroup` (version 1) or `cgroup2`."""
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [Path(where.split()[4]) for where, what in mounts if what.split()[0] in versions]


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _link(host: str) -> int:
    """A pair of interfaces, one end here and one in the machine's network; its name is the claim on its addresses."""
    for number in range(_LINKS):
        name = f"wktest{number}"
        made = ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", host]
        done = subprocess.run(made, capture_output=True, text=True, check=False)
        if "File exists" in done.stderr:
            continue
        if done.returncode != 0:
            sys.exit(f"no link to the machine's network: {done.stderr}")
        there = ["nsenter", f"--net={host}", "ip"]
        _run(*there, "address", "add", f"198.18.{number}.1/30", "dev", name)
        _run(*there, "link", "set", name, "up")
        _run("ip", "address", "add", f"198.18.{number}.2/30", "dev", "eth0")
        _run("ip", "link", "set", "eth0", "up")
        _run("ip", "route", "add", "default", "via", f"198.18.{number}.1")
        return number
    sys.exit(f"all {_LINKS} links to the machine's network are taken")


def _mask_settings(place: Path) -> None:
    for name, value in _WANTED_SETTINGS.items():
        mask = place / f"setting-{name.replace('/', '-')}"
        mask.write_text(f"{value}\n")
        _run("mount", "--bind", str(mask), f"/proc/sys/{name}")


def _make_group(hierarchy: Path, group: str) -> None:
    path = hierarchy / group
    path.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group, and nothing may run in it then
        if (path / name).exists():
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
    if sys.argv[1] == "inside":
        inside(Path(sys.argv[2]), sys.argv[3])
    else:
        outer(Path(sys.argv[1]))
