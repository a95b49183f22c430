"""Arize Phoenix 20.26.1, the real server with authentication on, and a judge in its database.

Targets: `prompt_tag`, id `PROMPT/TAG`. The judge reads and writes Phoenix's SQLite file beside it, so it shares no code
with a client of the REST API; Phoenix keeps nothing of it in memory.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from pydantic import JsonValue

from tests.testbed.aisystems.front import Front
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess
from watchkeeper.core.model import Scalar

READY_S = 300
PASSWORD = "Watchkeeper-1"
_TAG = (
    "SELECT t.prompt_version_id, t.description FROM prompt_version_tags t JOIN prompts p ON p.id = t.prompt_id "
    "WHERE p.name = ? AND t.name = ?"
)


class Phoenix:
    """`with Phoenix(place, directory) as phoenix`: adapters are given `url` and `key`, or `viewer_key()`."""

    def __init__(self, place: Path, directory: Path) -> None:
        self.key = f"a1{secrets.token_hex(20)}"
        self._database = directory / "phoenix.db"
        self._direct = f"http://{LOOPBACK}:{free_port()}"
        settings = {
            "PHOENIX_WORKING_DIR": str(directory),
            "PHOENIX_HOST": LOOPBACK,
            "PHOENIX_PORT": self._direct.rsplit(":", 1)[1],
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ENABLE_AUTH": "true",
            "PHOENIX_SECRET": f"s1{secrets.token_hex(20)}",
            "PHOENIX_ADMIN_SECRET": self.key,
        }
        command = [str(place / "venv/bin/phoenix"), "serve"]
        log = directory / "phoenix.log"
        self._child = ChildProcess("phoenix", command, log=log, env=os.environ | settings, cwd=directory)
        self._front = Front(self._direct)
        self._admin = httpx.Client(
            base_url=self._direct, headers={"authorization": f"Bearer {self.key}"}, timeout=30, trust_env=False
        )

    def __enter__(self) -> Self:
        self._child.start()
        try:
            self._child.wait_for_http(f"{self._direct}/healthz", timeout_s=READY_S)
        except BaseException:
            self._child.terminate()
            raise
        self._front.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._front.__exit__(kind, error, tb)
        self._admin.close()
        self._child.terminate()

    @property
    def url(self) -> str:
        return self._front.url

    @property
    def journal(self) -> list[str]:
        return self._front.journal

    # Makers.

    def prompt(self, *texts: str, model: str = "gpt-4o") -> tuple[str, list[str]]:
        """A prompt with a version for each text, oldest first: its name and the ids of its versions."""
        name = f"prompt-{secrets.token_hex(4)}"
        return name, [self.version(name, text, model) for text in texts]

    def version(self, prompt: str, text: str, model: str = "gpt-4o") -> str:
        message: JsonValue = {"role": "system", "content": text}
        version: JsonValue = {
            "model_provider": "OPENAI",
            "model_name": model,
            "template": {"type": "chat", "messages": [message]},
            "template_type": "CHAT",
            "template_format": "MUSTACHE",
            "invocation_parameters": {"type": "openai", "openai": {}},
        }
        made = self._admin.post("/v1/prompts", json={"prompt": {"name": prompt}, "version": version})
        return str(made.raise_for_status().json()["data"]["id"])

    def viewer_key(self) -> str:
        """An API key that may read, and no more."""
        email = f"{secrets.token_hex(4)}@example.com"
        user: JsonValue = {
            "auth_method": "LOCAL",
            "email": email,
            "username": email,
            "role": "VIEWER",
            "password": PASSWORD,
        }
        body: JsonValue = {"user": user, "send_welcome_email": False}
        self._admin.post("/v1/users", json=body).raise_for_status()
        with httpx.Client(base_url=self._direct, timeout=30, trust_env=False) as person:
            person.post("/auth/login", json={"email": email, "password": PASSWORD}).raise_for_status()
            asked = 'mutation { createUserApiKey(input: {name: "reader"}) { jwt } }'
            return str(person.post("/graphql", json={"query": asked}).json()["data"]["createUserApiKey"]["jwt"])

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """`version` and `description` of a tag, None if it is not set. A missing prompt is a LookupError."""
        prompt, tag = _split(kind, id_)
        with self._sql() as sql:
            _prompt(sql, prompt)
            found = sql.execute(_TAG, (prompt, tag)).fetchone()
        return (
            {"version": _version_id(found[0]), "description": found[1]}
            if found
            else {"version": None, "description": None}
        )

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """`version` (None takes the tag away) and `description`."""
        prompt, tag = _split(kind, id_)
        after = {**self.fields(kind, id_), **values}
        with self._sql() as sql:
            number = _prompt(sql, prompt)
            sql.execute("DELETE FROM prompt_version_tags WHERE prompt_id = ? AND name = ?", (number, tag))
            if after["version"] is not None:
                row = (tag, after["description"], number, _version_number(str(after["version"])))
                columns = "(name, description, prompt_id, prompt_version_id)"
                sql.execute(f"INSERT INTO prompt_version_tags {columns} VALUES (?, ?, ?, ?)", row)

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


def _split(kind: str, id_: str) -> tuple[str, str]:
    assert kind == "prompt_tag"
    prompt, _, tag = id_.rpartition("/")
    return prompt, tag


def _prompt(sql: sqlite3.Connection, name: str) -> int:
    found = sql.execute("SELECT id FROM prompts WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise LookupError(name)
    return int(found[0])


def _version_id(number: int) -> str:
    """Phoenix's outside name of a row."""
    return b64encode(f"PromptVersion:{number}".encode()).decode()


def _version_number(id_: str) -> int:
    return int(b64decode(id_).decode().partition(":")[2])
