"""A real Linux host for tests: `build()` its root once per machine, then `with linux_host(...) as host`."""

from tests.testbed.hosts.host import LinuxHost, Runaway, known_hosts, linux_host, missing
from tests.testbed.hosts.install import Installation, build, cached
from tests.testbed.hosts.judge import HostDown, HostJudge
from tests.testbed.hosts.packages import missing_to_build

__all__ = [
    "HostDown",
    "HostJudge",
    "Installation",
    "LinuxHost",
    "Runaway",
    "build",
    "cached",
    "known_hosts",
    "linux_host",
    "missing",
    "missing_to_build",
]
