"""Chroma 1.5.9, the real vector store as a server; and a judge in its database.

Targets: `collection`, by name. The judge reads and writes Chroma's SQLite file. The open-source server knows no
credentials and one node: replicas and shards are NOT here (`qdrant.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.testbed.aisystems.front import Front
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess
from watchkeeper.core.model import Scalar

READY_S = 60
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
TUNED = ("ef_search", "num_threads", "batch_size", "sync_threshold", "resize_factor")
"""What of an index can be changed after it was made, as the server's own API document says."""
_READS = ("/get", "/query", "/search")


class Chroma:
    """`with Chroma(place, directory) as chroma`: adapters are given `url`."""

    def __init__(self, place: Path, directory: Path) -> None:
        port, data = free_port(), directory / "data"
        self._direct, self._database = f"http://{LOOPBACK}:{port}", data / "chroma.sqlite3"
        command = [str(place / "venv/bin/chroma"), "run", "--path", str(data), "--host", LOOPBACK, "--port", str(port)]
        self._child = ChildProcess("chroma", command, log=directory / "chroma.log", env=os.environ, cwd=directory)
        self._front = Front(self._direct, _READS)
        self._client = httpx.Client(base_url=self._direct, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        self._child.start()
        try:
            self._child.wait_for_http(f"{self._direct}/api/v2/heartbeat", timeout_s=READY_S)
        except BaseException:
            self._child.terminate()
            raise
        self._front.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._front.__exit__(kind, error, tb)
        self._client.close()
        self._child.terminate()

    @property
    def url(self) -> str:
        return self._front.url

    @property
    def journal(self) -> list[str]:
        return self._front.journal

    def collection(self, vectors: int = 3) -> str:
        """A collection with so many vectors: its name."""
        name = f"docs-{secrets.token_hex(4)}"
        made = self._client.post(COLLECTIONS, json={"name": name}).raise_for_status().json()
        rows = [[float(number), 1.0] for number in range(vectors)]
        body = {"ids": [str(number) for number in range(vectors)], "embeddings": rows}
        self._client.post(f"{COLLECTIONS}/{made['id']}/add", json=body).raise_for_status()
        return name

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """How the index is tuned. What is not there is a LookupError."""
        assert kind == "collection"
        with self._sql() as sql:
            index = _index(_schema(sql, id_))
        return {name: index[name] for name in TUNED}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        assert kind == "collection"
        with self._sql() as sql:
            schema = _schema(sql, id_)
            _index(schema).update(values)
            sql.execute("UPDATE collections SET schema_str = ? WHERE name = ?", (json.dumps(schema), id_))

    def effects(self) -> int:
        return len(self.journal)

    @contextmanager
    def _sql(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._database, timeout=30)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


def _schema(sql: sqlite3.Connection, name: str) -> dict[str, Any]:
    found = sql.execute("SELECT schema_str FROM collections WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise LookupError(name)
    schema: dict[str, Any] = json.loads(found[0])
    return schema


def _index(schema: dict[str, Any]) -> dict[str, Any]:
    index: dict[str, Any] = schema["keys"]["#embedding"]["float_list"]["vector_index"]["config"]["hnsw"]
    return index
