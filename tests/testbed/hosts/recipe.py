"""How the root of a Linux host is made: Debian by debootstrap, then the user, the service and the SSH server's rules.

What belongs to one boot (host name, keys, machine id) is NOT in it; see inside.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.testbed.cache import step

RELEASE = "bookworm"
DISK = "/var/log/app"
"""Where a host has a small file system of its own, which a test may fill."""
USER = "watchkeeper"
"""Who logs in. No password, and no rights by sudo until a test gives some."""
OWNER = "app"
"""Whose files are on the disk, and as whom the service runs."""
PACKAGES = ("systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo", "procps", "util-linux")

_FILES = Path(__file__).parent / "files"
_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
# What mounts or runs goes when the build ends, also when it is killed.
_APART = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


def make_root(root: Path) -> None:
    """Make the whole root in the new directory `root`."""
    wanted = ",".join(PACKAGES)
    _apart(["debootstrap", "--variant=minbase", f"--include={wanted}", RELEASE, str(root), _mirror()])
    _install(root, "demo", "usr/local/bin/demo", 0o755)
    _install(root, "demo.service", "etc/systemd/system/demo.service", 0o644)
    _install(root, "sshd.conf", "etc/ssh/sshd_config.d/testbed.conf", 0o644)
    (root / "etc/demo.conf").write_text("LEVEL=info\n")
    for user in (USER, OWNER):
        _inside(root, "useradd", "--create-home", "--shell=/bin/bash", "--password=*", user)
    for directory in (DISK, "/etc/ssh/authorized_keys"):
        (root / directory.lstrip("/")).mkdir()
    _inside(root, "systemctl", "enable", "demo.service")
    _inside(root, "systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer")
    for leftover in (*root.glob("etc/ssh/ssh_host_*"), *root.glob("etc/sudoers.d/*"), root / "etc/machine-id"):
        leftover.unlink(missing_ok=True)
    for directory in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / directory)
        (root / directory).mkdir()


def _install(root: Path, name: str, place: str, mode: int) -> None:
    target = root / place
    target.write_bytes((_FILES / name).read_bytes())
    target.chmod(mode)


def _inside(root: Path, *command: str) -> None:
    _apart(["chroot", str(root), *command])


def _apart(command: Sequence[str]) -> None:
    step([*_APART, "--propagation", "private", "--", *command])


def _mirror() -> str:
    """The mirror that this machine uses anyway."""
    text = _SOURCES.read_text() if _SOURCES.exists() else ""
    found = re.search(r"^URIs:\s*(\S+/debian/?)\s*$", text, flags=re.MULTILINE)
    return found[1] if found else _DEFAULT_MIRROR
