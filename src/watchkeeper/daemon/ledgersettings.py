"""The settings of the record: who signs it, who cosigns it, what is kept of it and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from watchkeeper.core.model import Contract
from watchkeeper.daemon.unique import once
from watchkeeper.daemon.witnesswire import WitnessConfig
from watchkeeper.ledger.archive.config import ArchiveSettings
from watchkeeper.ledger.cosigning.quorum import Policy as QuorumPolicy
from watchkeeper.ledger.cosigning.quorum import read_policy
from watchkeeper.ledger.evidence.store import DEFAULT_MAX_BYTES
from watchkeeper.ledger.retention.periods import RetentionSettings


class LedgerSettings(Contract):
    origin: str = Field(default="watchkeeper.local/log", pattern=r"^[^\s+]+$")
    """The log's name in checkpoints: unique to this installation, no spaces, no plus sign."""
    signing_key: SecretStr | None = None
    """The log's signing key itself. Made in the data directory at the first start when no key is given."""
    signing_key_path: Path | None = None
    """The same as a file of mode 0600, which `watchkeeper ledger keygen` makes."""
    previous_signing_key: SecretStr | None = None
    """The key that signed before this one: with it, the next batch hands the log over."""
    previous_key_path: Path | None = None
    """The same as a file of mode 0600."""
    witnesses: tuple[WitnessConfig, ...] = ()
    """Who is asked to cosign each newest checkpoint."""
    policy_file: Path | None = None
    """A C2SP tlog-policy: how many of the witnesses are enough. `ledger checkpoint --cosigned` goes by it."""
    evidence_max_bytes: int = Field(default=DEFAULT_MAX_BYTES, ge=1_048_576)
    """How much evidence is kept in all, compressed. While it is full, calls and people's words are still kept; new
    findings are not recorded, so nothing new is acted upon, and people are told."""
    retention: RetentionSettings = RetentionSettings()
    archive: ArchiveSettings | None = None
    """Where signed entries are copied to once a day: a bucket or a directory."""

    @field_validator("witnesses")
    @classmethod
    def _each_witness_is_givenonce(cls, value: tuple[WitnessConfig, ...]) -> tuple[WitnessConfig, ...]:
        once("witness", (each.name for each in value))
        once("witness's key", (each.vkey for each in value))
        return value

    def policy(self) -> QuorumPolicy | None:
        """The policy file's content. Raises InputError with file:line."""
        return None if self.policy_file is None else read_policy(self.policy_file)

    @model_validator(mode="after")
    def _each_keyonce(self) -> Self:
        for name, secret, path in (
            ("signing_key", self.signing_key, self.signing_key_path),
            ("previous_signing_key", self.previous_signing_key, self.previous_key_path),
        ):
            if secret is not None and path is not None:
                raise ValueError(f"{name} is given twice: as a secret and as the path of a key file")
        return self

    @model_validator(mode="after")
    def _what_goes_is_archived(self) -> Self:
        if self.retention.entries is not None and self.archive is None:
            raise ValueError("retention: entries: entries go only when they are archived: set ledger.archive too")
        return self
