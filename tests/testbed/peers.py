"""One rule for counterparts that a machine may lack: skip with a reason, or fail where they are required.

WATCHKEEPER_REQUIRE_PEERS=1 (set in CI) turns every such skip into a failure, so that nothing is silently untested.
"""

from __future__ import annotations

import os

import pytest


def peers_required() -> bool:
    """Is a missing counterpart a failure?"""
    return os.environ.get("WATCHKEEPER_REQUIRE_PEERS") == "1"


def require_peer(present: object, what: str) -> None:
    """Go on if `present` is truthy; otherwise skip, or fail where peers are required.

    `what` says what is missing and how to install it.
    """
    if present:
        return
    if peers_required():
        pytest.fail(f"a required counterpart is missing: {what}", pytrace=False)
    pytest.skip(f"missing: {what}")
