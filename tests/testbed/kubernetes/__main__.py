"""`python -m tests.testbed.kubernetes`: build the programs ahead of the tests, and say where they are.

`--packages` prints the Debian packages that are missing instead, one per line; it needs nothing but Python.
"""

from __future__ import annotations

import sys

from tests.testbed.kubernetes.packages import missing, missing_to_build

if __name__ == "__main__":
    if sys.argv[1:] == ["--packages"]:
        print("".join(f"{name}\n" for name in missing()), end="")
        sys.exit()
    from tests.testbed.kubernetes.install import build, cached

    found = cached()
    if found is None and (lacking := missing_to_build()) is not None:
        sys.exit(f"missing: {lacking}")
    print((found or build()).directory)
