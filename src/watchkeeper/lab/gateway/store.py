"""The gateway's state in memory and on disk: journal first, then effect, then snapshot.

After a kill at any point the state is what the journal says. One event loop owns it; it is not safe for threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import JsonValue

from watchkeeper.core.clock import Clock
from watchkeeper.lab.gateway.journal import Journal, JournalEntry, redact
from watchkeeper.lab.gateway.rows import Effect, ModelRow, Snapshot


class Store:
    """Keys, deployments and fallbacks, with the deployments of the configuration file beside those of the database."""

    def __init__(self, directory: Path, clock: Clock, config_models: Iterable[ModelRow] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._path = directory / "gateway.json"
        self.journal = Journal(directory / "journal.jsonl")
        snapshot = Snapshot()
        if self._path.exists():
            snapshot = Snapshot.model_validate_json(self._path.read_bytes())
        self.keys = {row.token: row for row in snapshot.keys}
        self.models = {row.model_id: row for row in (*config_models, *snapshot.models)}
        self.fallbacks = dict(snapshot.fallbacks)
        for entry in self.journal.entries():
            if entry.seq > snapshot.journal_seq and entry.effect is not None:
                self._apply(entry.effect)
        self.save()

    def write(
        self,
        *,
        method: str,
        path: str,
        query: str,
        changed_by: str,
        body: JsonValue,
        status: int,
        effect: Effect | None,
    ) -> None:
        """Journals one admin write, then lets it take effect. When this returns, both have survived any kill."""
        entry = JournalEntry(
            seq=self.journal.last_seq + 1,
            at=self._clock.now(),
            method=method,
            path=path,
            query=query,
            changed_by=changed_by,
            body=redact(body),
            status=status,
            effect=effect,
        )
        self.journal.append(entry)
        if effect is not None:
            self._apply(effect)
            self.save()

    def add_spend(self, spend: dict[str, float]) -> None:
        """One batch of the spend log reaches the keys; not an admin write, so not in the journal."""
        for token, amount in spend.items():
            row = self.keys.get(token)
            if row is not None:
                self.keys[token] = row.model_copy(update={"spend": row.spend + amount, "updated_at": self._clock.now()})
        self.save()

    def deployments(self, model_name: str) -> list[ModelRow]:
        return [row for row in self.models.values() if row.model_name == model_name and not row.blocked]

    def model_names(self) -> list[str]:
        return sorted({row.model_name for row in self.models.values()})

    def save(self) -> None:
        """A whole new file renamed over the old one, so a kill leaves one of the two."""
        snapshot = Snapshot(
            journal_seq=self.journal.last_seq,
            keys=tuple(self.keys.values()),
            models=tuple(row for row in self.models.values() if row.db_model),
            fallbacks=self.fallbacks,
        )
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(snapshot.model_dump_json())
        fresh.replace(self._path)

    def close(self) -> None:
        self.save()
        self.journal.close()

    def _apply(self, effect: Effect) -> None:
        for key in effect.keys:
            self.keys[key.token] = key
        for model in effect.models:
            self.models[model.model_id] = model
        for model_id in effect.removed_models:
            self.models.pop(model_id, None)
        if effect.fallbacks is not None:
            self.fallbacks = dict(effect.fallbacks)
