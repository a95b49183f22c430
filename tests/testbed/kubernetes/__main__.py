"""`python -m tests.testbed.kubernetes`: build the programs ahead of the tests, and what our own image holds; say where.

Which Debian packages are missing, packages.py says by itself: it needs nothing but Python.
"""

from __future__ import annotations

import sys

from tests.testbed.kubernetes.install import build, cached
from tests.testbed.kubernetes.ours import dependencies
from tests.testbed.kubernetes.packages import missing_to_build

if __name__ == "__main__":
    found = cached()
    if found is None and (lacking := missing_to_build()) is not None:
        sys.exit(f"missing: {lacking}")
    print((found or build()).directory)
    print(dependencies())
