"""`python -m tests.testbed.hosts`: build the root of a Linux host ahead of the tests, and say where it is."""

from __future__ import annotations

import os
import sys

from tests.testbed.hosts.install import build, cached
from tests.testbed.hosts.packages import missing_to_build

if __name__ == "__main__":
    found = cached()
    if found is None:
        if (lacking := missing_to_build()) is not None:
            sys.exit(f"missing: {lacking}")
        if os.geteuid() != 0:
            sys.exit("only root may make the root of a Linux host: run this with sudo, HOME kept")
        found = build()
    print(found.root)
