"""Where the archive is: the settings of each kind of storage. They ask nobody whether it is there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from watchkeeper.core.model import Contract
from watchkeeper.ledger.retention.periods import Period


class LockMode(StrEnum):
    """COMPLIANCE: nobody deletes a copy before its time, not the account's owner either. GOVERNANCE: who holds a
    permission of its own may."""

    COMPLIANCE = "COMPLIANCE"
    GOVERNANCE = "GOVERNANCE"


class LockSettings(Contract):
    mode: LockMode = LockMode.COMPLIANCE
    """COMPLIANCE (nobody can delete a copy before its time) or GOVERNANCE (who has a permission of its own may)."""
    retain: Period = "7y"
    """How long each copy is locked from when it is made."""


class S3Archive(Contract):
    kind: Literal["s3"]
    """`s3`: a bucket of S3 or of a server that speaks like it."""
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    prefix: str = Field(default="", pattern=r"^([A-Za-z0-9_=.-]{1,128}/){0,8}$")
    """Put before the name of every object; ends in a slash."""
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,64}$")
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^/@\s]+/?$")
    """Of a server that is not Amazon's; its buckets are named in the path."""
    access_key: SecretStr | None = None
    """Neither key given: the usual places are looked in (`AWS_*` variables, a shared file, the machine's role)."""
    secret_key: SecretStr | None = None
    lock: LockSettings | None = None
    """Object lock; the bucket must have been made with it. Not given: copies can be deleted by whoever may."""

    @model_validator(mode="after")
    def _both_keys_or_none(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("give access_key and secret_key together, or neither")
        return self


class DirectoryArchive(Contract):
    kind: Literal["directory"]
    """`directory`: a file system, say one that is mounted from elsewhere."""
    path: Path
    """Absolute; made at the first archive."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("give an absolute path")
        return value


ArchiveSettings = Annotated[S3Archive | DirectoryArchive, Field(discriminator="kind")]
