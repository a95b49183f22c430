"""The Debian packages that the Kubernetes counterparts need: the one list, for people, for `.ci/run` and for skips.

`python3 packages.py` prints those that are missing, one per line; only the standard library is needed. What is here
decides only what to install; what may be done with it (root, name spaces) is asked for in node.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

_GO = Path("/usr/lib/go-1.19/bin/go")
_BUILD = {
    str(_GO): "golang-1.19-go",
    "dpkg-source": "dpkg-dev",
    "gcc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
}
_PLANE = {"etcd": "etcd-server"}
_NODE = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/lib/cni/host-local": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
    "hostname": "hostname",
    "/bin/busybox": "busybox-static",
}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the system keeps programs, those of administrators too."""


def missing() -> tuple[str, ...]:
    """The packages that this machine lacks, to build and to run everything."""
    return _missing(_BUILD | _PLANE | _NODE)


def missing_to_build() -> str | None:
    """What to install before the build, in words."""
    return _in_words(_missing(_BUILD))


def missing_for_plane() -> str | None:
    """What to install before a control plane can run, in words."""
    return _in_words(_missing(_PLANE))


def missing_for_node() -> str | None:
    """What to install before a real node can run, in words."""
    return _in_words(_missing(_PLANE | _NODE))


def program(name: str) -> str:
    """The full path of a program, also where PATH lacks the system's folders."""
    found = shutil.which(name, path=SYSTEM_PATH) or shutil.which(name)
    assert found is not None, f"{name} is missing: python3 tests/testbed/kubernetes/packages.py prints what to install"
    return found


def _missing(needed: dict[str, str]) -> tuple[str, ...]:
    return tuple(sorted({package for what, package in needed.items() if not _there(what)}))


def _there(what: str) -> bool:
    return Path(what).exists() if what.startswith("/") else shutil.which(what, path=SYSTEM_PATH) is not None


def _in_words(packages: Iterable[str]) -> str | None:
    names = " ".join(packages)
    return f"packages of the Kubernetes counterparts: apt-get install {names}" if names else None


if __name__ == "__main__":
    print("".join(f"{name}\n" for name in missing()), end="")
