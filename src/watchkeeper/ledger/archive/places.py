"""From settings, or from what a person typed, to a storage."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.core.errors import InputError
from watchkeeper.ledger.archive.config import DirectoryArchive, S3Archive
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.archive.s3 import S3Storage
from watchkeeper.ledger.archive.storage import Storage


def storage_of(settings: S3Archive | DirectoryArchive) -> Storage:
    return S3Storage(settings) if isinstance(settings, S3Archive) else DirectoryStorage(settings.path)


def storage_at(place: str, *, endpoint_url: str | None = None, region: str | None = None) -> Storage:
    """`s3://BUCKET/PREFIX`, with credentials from the usual places, or a directory. Raises InputError."""
    if not place.startswith("s3://"):
        return DirectoryStorage(Path(place))
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    prefix = prefix + "/" if prefix and not prefix.endswith("/") else prefix
    given = {"kind": "s3", "bucket": bucket, "prefix": prefix, "endpoint_url": endpoint_url}
    try:
        return S3Storage(S3Archive.model_validate(given | ({} if region is None else {"region": region})))
    except ValueError as error:
        raise InputError(
            "this names no archive",
            place=place,
            cause="it reads s3://BUCKET/PREFIX, or a directory",
            next_step="watchkeeper ledger verify --help",
        ) from error
