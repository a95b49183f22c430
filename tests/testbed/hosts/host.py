"""One real Linux host on this machine: Debian with systemd, journald, sudo and a real SSH server.

It runs as a container of systemd-nspawn in a network of its own: real services, cgroups, files, sessions and reboots,
under the kernel of this machine. So what is NOT shown: a kernel or hardware that fails, and limits of memory that
systemd sets. Reach it from this machine alone, at its own address and port 22; it reaches nobody but this machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from tests.testbed.hosts.install import Installation
from tests.testbed.hosts.judge import HostDown, HostJudge
from tests.testbed.hosts.packages import missing_to_run
from tests.testbed.hosts.recipe import OWNER, USER
from tests.testbed.namespaces import Place, name_spaces
from tests.testbed.process import ChildProcess

PORT = 22
_UP_WITHIN_S = 60
_SUDOERS = "/etc/sudoers.d/watchkeeper"
_BUSY = "while :; do :; done"


@dataclass(frozen=True)
class Runaway:
    """A process that burns a core and belongs to nobody's service; by the host's own number."""

    pid: int
    started_at: int
    """In clock ticks since the machine booted: what /proc/PID/stat has, field 22."""


@dataclass(frozen=True)
class Keys:
    """Made for one host; the private ones are files that only this user reads."""

    host_file: Path
    client_file: Path
    public_host_key: str
    public_client_key: str

    @classmethod
    def make(cls, directory: Path, name: str) -> Self:
        import asyncssh

        host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        host_file, client_file = directory / f"{name}.host-key", directory / f"{name}.client-key"
        for file, key in ((host_file, host), (client_file, client)):
            file.touch(mode=0o600)
            key.write_private_key(file)
        public_host, public_client = (key.export_public_key().decode().strip() for key in (host, client))
        return cls(host_file, client_file, public_host, public_client)


class LinuxHost:
    """A host that is up. `judge` looks at it and changes it by another way than SSH."""

    user = USER
    port = PORT

    def __init__(self, name: str, place: Place, keeper: ChildProcess, keys: Keys) -> None:
        self.name, self.address = name, place.node
        self.host_key, self.private_host_key, self.client_key = keys.public_host_key, keys.host_file, keys.client_file
        """The host's public key, as `ssh-ed25519 AAAA...`; the files of the host's private key and of the user's."""
        self.judge = HostJudge(place.pid)
        self._place, self._keeper = place, keeper

    @property
    def known_hosts(self) -> str:
        """The line of a known_hosts file that lets this host in, and no other."""
        return known_hosts(self.address, self.port, self.host_key)

    def allow_by_sudo(self, text: str) -> None:
        """Put a sudoers file in force, once visudo has found it well-formed. Empty text: nothing is allowed."""
        draft = "/etc/sudoers-draft"
        self.judge.write(draft, text, mode=0o440)
        self.judge.run("visudo", "--check", "--quiet", f"--file={draft}")
        self.judge.run("mv", draft, _SUDOERS)

    def start_runaway(self, *, ignores_term: bool = False) -> Runaway:
        """At the lowest priority: others work on this machine."""
        code = f"trap '' TERM; {_BUSY}" if ignores_term else _BUSY
        unit = f"runaway-{uuid4().hex[:8]}"
        wanted = ["--collect", "--service-type=exec", f"--uid={OWNER}", "--property=Nice=19"]
        self.judge.run("systemd-run", "--quiet", f"--unit={unit}", *wanted, "/bin/sh", "-c", code)
        pid = int(self.judge.unit(unit)["MainPID"])
        started_at = self.judge.started_at(pid)
        assert started_at is not None, f"{unit} ended at once"
        return Runaway(pid, started_at)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Inside the block every packet to and from the host is lost. Nobody is told: connections hang."""
        rules = [("INPUT", "--in-interface"), ("OUTPUT", "--out-interface")]
        for chain, direction in rules:
            self._iptables("--insert", chain, direction)
        try:
            yield
        finally:
            for chain, direction in rules:
                self._iptables("--delete", chain, direction)

    def wait_until_up(self, *, not_boot: str = "") -> None:
        """Until systemd has started everything and the SSH server answers; not as long as it is this boot."""

        def up() -> bool:
            with suppress(HostDown, OSError, AssertionError):
                state = self.judge.try_run("systemctl", "is-system-running").stdout.strip()
                return state in ("running", "degraded") and self.judge.boot_id() != not_boot and self._greets()
            return False

        self._keeper.wait_until(up, timeout_s=_UP_WITHIN_S, what=f"{self.name} that is up")

    def reset(self) -> None:
        """Nothing allowed by sudo, the disk empty, the demo service as it was installed and running."""
        self.allow_by_sudo("")
        self.judge.run("find", "/var/log/app", "-mindepth", "1", "-delete")
        self.judge.write("/etc/demo.conf", "LEVEL=info\n")
        self.judge.run("systemctl", "reset-failed")
        self.judge.run("systemctl", "restart", "demo.service")

    def _greets(self) -> bool:
        with socket.create_connection((self.address, self.port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"

    def _iptables(self, what: str, chain: str, direction: str) -> None:
        network = f"--net=/proc/{self._place.pid}/ns/net"
        command = ["nsenter", network, "iptables", "--wait", what, chain, direction, "eth0", "--jump", "DROP"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def known_hosts(address: str, port: int, key: str) -> str:
    """One line in the format of known_hosts."""
    return f"{address if port == PORT else f'[{address}]:{port}'} {key}\n"


def missing() -> str | None:
    """Why no host can boot here."""
    if os.geteuid() != 0:
        return "root, who alone may boot a Linux host: run the tests as root"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "a kernel with overlay file systems: modprobe overlay"
    return missing_to_run()


@contextmanager
def linux_host(installation: Installation, directory: Path, *, name: str = "app-1") -> Iterator[LinuxHost]:
    """Boot a fresh host; its console and the client's key stay in the new `directory`, all else goes."""
    directory.mkdir(exist_ok=True)
    keys = Keys.make(directory, name)
    seed = [
        ("root", str(installation.root)),
        ("name", name),
        ("machine-id", f"{uuid4().hex}\n"),
        ("host-key", keys.host_file.read_text()),
        ("authorized-keys", f"{keys.public_client_key}\n"),
    ]
    script = Path(__file__).with_name("inside.py")
    with name_spaces(script, log=directory / f"{name}.log", prefix="wk-host-", seed=seed) as (place, keeper):
        host = LinuxHost(name, place, keeper, keys)
        host.wait_until_up()
        yield host
