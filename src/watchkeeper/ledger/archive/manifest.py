"""What one segment of the archive consists of, and what it follows: canonical JSON, named by its digest.

Manifests chain: each names the digest of the one before, and lies under the index of its first entry, so that there is
one for each place in the log and the next is found without a listing.
"""

from __future__ import annotations

from pydantic import Field, ValidationError

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.digest import sha256
from watchkeeper.core.errors import VerificationError
from watchkeeper.core.model import Contract


class ArchivedObject(Contract):
    """`digest` is `sha256:` over the object's bytes, `size` their number."""

    name: str
    digest: str
    size: int = Field(ge=0)


class Manifest(Contract):
    """Entries `first` up to, not including, `end`, under the checkpoint of `size`, less than one bundle beyond them.
    `root` is base64; `previous` is the digest of the manifest before, null for the first."""

    schema_name = "watchkeeper.dev/archive/v1"
    origin: str
    first: int = Field(ge=0)
    end: int = Field(ge=1)
    size: int = Field(ge=1)
    root: str
    previous: str | None
    objects: tuple[ArchivedObject, ...]

    def to_bytes(self) -> bytes:
        return canonical_model(self)

    @property
    def digest(self) -> str:
        return sha256(self.to_bytes())

    @classmethod
    def from_bytes(cls, body: bytes) -> Manifest:
        """Raises VerificationError for anything but the canonical bytes of a manifest."""
        try:
            manifest = cls.model_validate_json(body)
        except ValidationError:
            manifest = None
        if manifest is None or manifest.to_bytes() != body:
            raise VerificationError(
                "not a manifest of an archive",
                cause="it was edited, or a later version wrote it",
                next_step="compare its digest with the ledger's entry of the archive",
            )
        return manifest


def manifest_name(first: int) -> str:
    return f"manifests/{first}.json"
