"""`python -m tests.testbed.litellm`: build the proxy ahead of the tests, and say where it is."""

from __future__ import annotations

from tests.testbed.litellm.install import build

if __name__ == "__main__":
    print(build().directory)
