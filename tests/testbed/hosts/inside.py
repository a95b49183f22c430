"""Process 1 of a host's name spaces: `inside.py FOLDER GROUP`, started by keeper.py with nothing but the library.

It lays memory over the finished root, gives the host its identity out of FOLDER, and boots it. A host that reboots is
booted again, on the same disk; one that powers off stays off until the keeper ends. All that the host writes is memory
that goes with the name spaces.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_DISK = "var/log/app"  # as in recipe.py
_DISK_SIZE = 32 << 20
_MEMORY = "512m"
_REBOOT = 133  # what systemd-nspawn answers with --keep-unit


def main(folder: Path, group: str) -> None:
    _join(group)
    host = (folder / "name").read_text()
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "watchkeeper-testbed", "/run")
    root = _lay(folder, Path((folder / "root").read_text()))
    _identify(root, folder, host)
    print("ready", flush=True)
    while _boot(root, host) == _REBOOT:
        pass
    while True:
        signal.pause()


def _join(group: str) -> None:
    """Whatever the host makes lies below the keeper's groups, and is removed with them."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    for hierarchy in (Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")):
        (hierarchy / group / "cgroup.procs").write_text("0")


def _lay(folder: Path, lower: Path) -> Path:
    """The root, with a disk of its own for what the service logs."""
    space = folder / "space"
    space.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"mode=755,size={_MEMORY}", "watchkeeper-testbed", str(space))
    upper, work, root, image = (space / name for name in ("upper", "work", "tree", "disk"))
    for path in (upper, work, root):
        path.mkdir(mode=0o755)
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _run("mount", "-t", "overlay", "-o", layers, "overlay", str(root))
    with image.open("wb") as file:
        file.truncate(_DISK_SIZE)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    _run("mount", "-o", "loop", str(image), str(root / _DISK))
    shutil.rmtree(root / _DISK / "lost+found")
    _run("chown", "--reference", str(root / "home/app"), str(root / _DISK))
    return root


def _identify(root: Path, folder: Path, host: str) -> None:
    (root / "etc/hostname").write_text(f"{host}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {host}\n")
    (root / "etc/machine-id").write_text((folder / "machine-id").read_text())
    for name, place in (
        ("host-key", "etc/ssh/ssh_host_ed25519_key"),
        ("authorized-keys", "etc/ssh/authorized_keys/watchkeeper"),
    ):
        shutil.copyfile(folder / name, root / place)
        (root / place).chmod(0o600 if name == "host-key" else 0o644)


def _boot(root: Path, host: str) -> int:
    """Until the host is down. The dead whom nobody else waits for are buried meanwhile."""
    command = ["systemd-nspawn", "--boot", f"--directory={root}", f"--machine={host}", "--register=no", "--keep-unit"]
    network = f"--network-namespace-path=/proc/{os.getpid()}/ns/net"
    rest = ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"]
    child = subprocess.Popen([*command, network, *rest], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
