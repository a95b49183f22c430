"""One nursery for all tests of a module: it imports the daemon once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.testbed.watch import Nursery, open_nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened
