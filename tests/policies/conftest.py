"""Authority over a fresh database, and the clock that it goes by; a test that needs another time has a `clock` of its
own."""

from __future__ import annotations

import pytest
from tests.testbed.authority import Authority

from watchkeeper.core.clock import ManualClock
from watchkeeper.store.engine import Store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority(store: Store, clock: ManualClock) -> Authority:
    return Authority(store, clock)
