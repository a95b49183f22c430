"""An archive in S3, or in a server that speaks like it. The one place that knows boto3, which is imported when used.

Nothing is overwritten (`If-None-Match: *`), every write carries its SHA-256 and, where asked for, its lock. A server
that ignores one of these is found out when the object is read back, but for the first: on such a server a name that is
taken would be written anew, as a new version of a locked object.
"""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from watchkeeper.core.errors import ConfigError, ForbiddenError, UnavailableError, WatchkeeperError
from watchkeeper.ledger.archive.config import S3Archive
from watchkeeper.ledger.archive.storage import MAX_OBJECT_BYTES, Stored
from watchkeeper.ledger.retention.periods import length

TRIES = 6
PAUSE_S = 0.5
"""Before the second try; doubled before each further one, and never whole seconds in step with others."""
CONNECT_S, READ_S = 5, 60

_LATER = frozenset({"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"})
_TAKEN = frozenset({"PreconditionFailed"})
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_NO_LOCK = frozenset({"ObjectLockConfigurationNotFoundError", "NotImplemented", "InvalidRequest"})
_NOT_LET_IN = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})

Answer = TypeVar("Answer")


class S3Storage:
    def __init__(self, settings: S3Archive, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._settings, self._pause = settings, pause
        self._made: Any = None

    @property
    def place(self) -> str:
        return f"s3://{self._settings.bucket}/{self._settings.prefix}"

    def prepare(self) -> None:
        bucket = self._settings.bucket
        self._ask(lambda: self._client.head_bucket(Bucket=bucket), "look at the bucket")
        if self._settings.lock is None:
            return
        try:
            said = self._ask(lambda: self._client.get_object_lock_configuration(Bucket=bucket), "look at its lock")
        except _AnsweredError as answer:
            if answer.reason not in _NO_LOCK:
                raise
            said = {}
        if said.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise ConfigError(
                f"the bucket {bucket} has no object lock, and ledger.archive.lock asks for it",
                place=self.place,
                cause="object lock is chosen when a bucket is made",
                next_step="make a bucket with object lock, or leave ledger.archive.lock out",
            )

    def locked_until(self, now: datetime) -> datetime | None:
        lock = self._settings.lock
        return None if lock is None else (now + length(lock.retain)).replace(microsecond=0)

    def put(self, name: str, body: bytes, media_type: str, until: datetime | None) -> bool:
        lock = self._settings.lock
        locked = (
            {}
            if until is None or lock is None
            else {"ObjectLockMode": lock.mode.value, "ObjectLockRetainUntilDate": until}
        )
        try:
            self._ask(
                lambda: self._client.put_object(
                    Bucket=self._settings.bucket,
                    Key=self._settings.prefix + name,
                    Body=body,
                    ContentType=media_type,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
                    **locked,
                ),
                f"write {name}",
            )
        except _AnsweredError as answer:
            if answer.reason in _TAKEN:
                return False
            raise
        return True

    def get(self, name: str) -> Stored | None:
        try:
            return self._ask(lambda: self._read(name), f"read {name}")
        except _AnsweredError as answer:
            if answer.reason in _ABSENT:
                return None
            raise

    def _read(self, name: str) -> Stored:
        found = self._client.get_object(Bucket=self._settings.bucket, Key=self._settings.prefix + name)
        with found["Body"] as stream:
            return Stored(stream.read(MAX_OBJECT_BYTES), found.get("ObjectLockRetainUntilDate"))

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = _connect(self._settings)
        return self._made

    def _ask(self, call: Callable[[], Answer], what: str) -> Answer:
        """One answer, tried for again where waiting helps. A write that is tried again may find its own first try:
        then the name is taken, by what we wanted."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            EndpointConnectionError,
            HTTPClientError,
            IncompleteReadError,
        )

        for attempt in range(1, TRIES + 1):
            try:
                return call()
            except ClientError as error:
                later, failure = _is_later(error), self._answered(error, what)
            except (EndpointConnectionError, HTTPClientError, IncompleteReadError) as error:
                later, failure = True, self._silent(what, error)
            except BotoCoreError as error:
                later, failure = False, self._unusable(what, error)
            if not later or attempt == TRIES:
                raise failure
            self._pause(PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1))  # noqa: S311  # no secret
        raise AssertionError("unreachable")

    def _answered(self, error: Any, what: str) -> WatchkeeperError:
        reason = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if reason == "NoSuchBucket" or (status == 404 and what == "look at the bucket"):
            return ConfigError(
                f"there is no bucket {self._settings.bucket}",
                place=self.place,
                cause="the name is mistyped, or it is in another region or account",
                next_step="correct ledger.archive.bucket, region and endpoint_url",
            )
        if reason in _NOT_LET_IN or status in (401, 403):
            return ForbiddenError(
                f"the archive does not let us {what} ({reason or status})",
                place=self.place,
                cause="the keys are wrong, or lack a permission: s3:ListBucket, GetObject, GetObjectRetention, "
                "PutObject, PutObjectRetention, GetBucketObjectLockConfiguration are needed",
                next_step="correct the keys or their policy, then: watchkeeper ledger archive",
            )
        return _AnsweredError(self.place, what, reason or str(status))

    def _silent(self, what: str, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"the archive did not answer when asked to {what} ({type(error).__name__})",
            place=self.place,
            cause="the network is cut, or nothing listens at ledger.archive.endpoint_url",
            next_step="try again: watchkeeper ledger archive goes on where it stopped",
        )

    def _unusable(self, what: str, error: Exception) -> ConfigError:
        return ConfigError(
            f"the archive cannot be asked to {what} ({type(error).__name__})",
            place=self.place,
            cause="no credentials were found, or the settings do not fit together",
            next_step="give ledger.archive.access_key and secret_key, or AWS_* variables",
        )


class _AnsweredError(UnavailableError):
    """The server said no; `reason` is its own word for it."""

    def __init__(self, place: str, what: str, reason: str) -> None:
        super().__init__(
            f"the archive did not {what}: {reason}",
            place=place,
            cause="the server refused, or does not know what was asked",
            next_step="try again: watchkeeper ledger archive goes on where it stopped",
        )
        self.reason = reason


def _is_later(error: Any) -> bool:
    """Too many requests, or a fault of the server's own."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status == 429 or status >= 500 or error.response.get("Error", {}).get("Code") in _LATER


def _connect(settings: S3Archive) -> Any:
    import boto3
    from botocore.config import Config

    keys = {}
    if settings.access_key is not None and settings.secret_key is not None:
        keys = {
            "aws_access_key_id": settings.access_key.get_secret_value(),
            "aws_secret_access_key": settings.secret_key.get_secret_value(),
        }
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"total_max_attempts": 1},  # ours are told apart, and can be waited for in tests
        request_checksum_calculation="when_required",  # we give our own,
        response_checksum_validation="when_required",  # and compare what is read ourselves
        s3={"addressing_style": "auto" if settings.endpoint_url is None else "path"},
        user_agent_extra="watchkeeper",
    )
    session = boto3.session.Session()
    return session.client("s3", region_name=settings.region, endpoint_url=settings.endpoint_url, config=config, **keys)
