"""The Debian packages that the Linux host needs: the one list, for people, for `.ci/run` and for skips.

`python3 packages.py` prints those that are missing, one per line; only the standard library is needed.
"""

from __future__ import annotations

import shutil

_BUILD = {"debootstrap": "debootstrap", "chroot": "coreutils", "unshare": "util-linux", "setpriv": "util-linux"}
_RUN = {
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing_to_build() -> str | None:
    """What to install before the build, in words."""
    return _in_words(_BUILD)


def missing_to_run() -> str | None:
    """What to install before a host can boot, in words."""
    return _in_words(_RUN)


def _missing(needed: dict[str, str]) -> list[str]:
    return sorted({package for program, package in needed.items() if shutil.which(program, path=_PATH) is None})


def _in_words(needed: dict[str, str]) -> str | None:
    names = " ".join(_missing(needed))
    return f"packages of the Linux host: apt-get install {names}" if names else None


if __name__ == "__main__":
    print("".join(f"{name}\n" for name in _missing(_BUILD | _RUN)), end="")
