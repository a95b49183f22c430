"""The API over real rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.testbed.faces import Face, opened


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with opened(tmp_path) as running:
        yield running
