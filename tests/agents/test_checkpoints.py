"""LangGraph's store, when its own database fails: as good as the ledger's, and so it stops acting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from watchkeeper.agents.checkpoints import sqlite_checkpoints
from watchkeeper.core.errors import StoreError


async def test_a_checkpoint_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    config: Any = {"configurable": {"thread_id": "inc_1", "checkpoint_ns": ""}}
    async with sqlite_checkpoints(tmp_path / "checkpoints.db") as opened:
        saver: Any = opened
        await saver.conn.execute("PRAGMA query_only=ON")
        with pytest.raises(StoreError, match=r"checkpoints cannot be read or written: .*readonly"):
            await saver.aput(config, empty_checkpoint(), {}, {})
        await saver.conn.execute("PRAGMA query_only=OFF")
        await saver.aput(config, empty_checkpoint(), {}, {})
        assert await saver.aget_tuple(config) is not None
