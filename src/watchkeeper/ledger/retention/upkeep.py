"""What keeps the ledger from growing for ever, put together: pruning of evidence and of entries, and the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Self

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import ConfigError
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.archive.archivist import Archivist
from watchkeeper.ledger.archive.check import ArchiveCheck, ArchiveCheckReport
from watchkeeper.ledger.archive.compare import check_with
from watchkeeper.ledger.archive.storage import Storage
from watchkeeper.ledger.retention.periods import RetentionSettings
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.retention.prune import EvidencePruner, Held
from watchkeeper.ledger.retention.prune_entries import EntryPruner
from watchkeeper.ledger.signing.note import VerifierKey
from watchkeeper.store.engine import Store


@dataclass(frozen=True)
class Hand:
    """A database role at work: its connections, and its own name among the writers. Two roles that append under one
    name would wait for each other's transactions."""

    store: Store
    ledger: Ledger


@dataclass(frozen=True)
class Upkeep:
    """`archivist` is None where no archive is configured."""

    evidence: EvidencePruner
    entries: EntryPruner
    archivist: Archivist | None
    _store: Store
    _keys: tuple[VerifierKey, ...]

    @classmethod
    def over(
        cls,
        daemon: Hand,
        pruner: Hand,
        clock: Clock,
        retention: RetentionSettings,
        storage: Storage | None,
        keys: Sequence[VerifierKey],
        held: Held,
        *,
        holder: str,
    ) -> Self:
        """The daemon archives; what is taken away, and the entry that says so, are the pruner's."""
        archivist = None
        if storage is not None:
            archivist = Archivist(daemon.store, daemon.ledger, clock, storage, keys, holder=holder)
        return cls(
            EvidencePruner(pruner.store, pruner.ledger, clock, retention, held),
            EntryPruner(pruner.store, pruner.ledger, clock, retention, storage, keys, held, holder=holder),
            archivist,
            daemon.store,
            tuple(keys),
        )

    def archive(self) -> Archivist:
        """Raises ConfigError where there is none."""
        if self.archivist is None:
            raise ConfigError(
                "no archive is configured",
                cause="ledger.archive is not set",
                next_step="set ledger.archive to a bucket or a directory, and start the daemon again",
            )
        return self.archivist

    def check(self) -> AsyncIterator[Progress | ArchiveCheckReport]:
        """The whole archive, by itself and against this database."""
        storage = self.archive().storage
        return check_with(self._store, ArchiveCheck(storage, self._keys), storage.place)
