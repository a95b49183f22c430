"""Fetches Kubernetes' source package from the Debian mirror that this machine uses anyway.

apt checks the signatures; the upstream archive is checked by its digest as well. The system's own apt lists and
settings are read, never changed. It does NOT look for another version when Debian drops this one.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from tests.testbed.cache import BuildFailed, step

_VERSION = "1.20.5+really1.20.2-1.1+deb12u1"
_UPSTREAM_SHA256 = "b83c0780efb182d928dc63d46488a847f161f04e40a94b96bf5247dd671ecdfc"
_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_OLD_SOURCES = Path("/etc/apt/sources.list")
_DEFAULT = "deb-src http://deb.debian.org/debian bookworm main\n"


def fetch_source(work: Path, target: Path) -> None:
    """Download into `work` and unpack to `target`."""
    options = _private_apt(work)
    step(["apt-get", *options, "update", "--quiet"])
    step(["apt-get", *options, "source", "--quiet", "--download-only", f"kubernetes={_VERSION}"], cwd=work)
    [upstream] = work.glob("*.orig.tar.gz")
    found = hashlib.sha256(upstream.read_bytes()).hexdigest()
    if found != _UPSTREAM_SHA256:
        raise BuildFailed(f"{upstream.name} has the digest {found}, expected {_UPSTREAM_SHA256}")
    [description] = work.glob("*.dsc")
    target.parent.mkdir(parents=True)
    step(["dpkg-source", "--no-check", "-x", description, target])


def _private_apt(work: Path) -> list[str]:
    """Options that make apt use source lists, indexes and a cache of its own."""
    (work / "parts").mkdir(parents=True)
    (work / "lists/partial").mkdir(parents=True)
    (work / "archives/partial").mkdir(parents=True)
    _write_sources(work / "parts")
    settings = {
        "Dir::Etc::sourcelist": os.devnull,
        "Dir::Etc::sourceparts": work / "parts",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work,
        "APT::Sandbox::User": "root",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _write_sources(parts: Path) -> None:
    """The machine's own Debian sources, as sources of source packages."""
    if _SOURCES.exists():
        text = re.sub(r"^Types:.*$", "Types: deb-src", _SOURCES.read_text(), flags=re.MULTILINE)
        (parts / "debian.sources").write_text(text)
        return
    old = _OLD_SOURCES.read_text() if _OLD_SOURCES.exists() else ""
    lines = re.findall(r"^deb\s+(.*\sbookworm.*)$", old, flags=re.MULTILINE)
    (parts / "debian.list").write_text("".join(f"deb-src {line}\n" for line in lines) or _DEFAULT)
