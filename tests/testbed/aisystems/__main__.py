"""`python -m tests.testbed.aisystems`: build the real AI systems ahead of the tests, and say where they are."""

from __future__ import annotations

from tests.testbed.aisystems.install import SYSTEMS, build

if __name__ == "__main__":
    for system in SYSTEMS:
        print(build(system), flush=True)
