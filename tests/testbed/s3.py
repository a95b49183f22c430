"""An S3 server with object lock on loopback: moto, which we did not write (`clouds/moto_server.py`).

It keeps everything in memory, checks no signature and no checksum, and refuses to delete a locked version. It is not
Amazon's: what it lets through, S3 may refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from pydantic import SecretStr

from tests.testbed.clouds.moto_server import moto_server
from watchkeeper.ledger.archive.config import LockSettings, S3Archive

_NAMES = count(1)


@dataclass(frozen=True)
class S3Server:
    url: str

    def bucket(self, *, lock: bool = True) -> str:
        """A new bucket."""
        name = f"bucket-{next(_NAMES)}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        return name

    def settings(self, bucket: str, lock: LockSettings | None = None, url: str = "") -> S3Archive:
        return S3Archive(
            kind="s3",
            bucket=bucket,
            prefix="logs/one/",
            endpoint_url=url or self.url,
            access_key=SecretStr("an-access-key"),
            secret_key=SecretStr("a-secret-key"),
            lock=lock,
        )

    @property
    def client(self) -> Any:
        """For what a test does past the archive."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="an-owner",
            aws_secret_access_key="a-secret",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    with moto_server(directory) as url:
        yield S3Server(url)
