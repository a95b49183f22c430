"""Directory and S3 keep the contract of a storage; S3 against a server of its own, with object lock and without."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.ledger.archive.storage_suite import OCTETS, StorageSuite
from tests.testbed.faultproxy import FaultProxy, fault_proxy
from tests.testbed.ports import free_port
from tests.testbed.s3 import S3Server

from watchkeeper.adapters.kit import Fault
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.errors import ConfigError, ForbiddenError, InputError, UnavailableError
from watchkeeper.ledger.archive.config import LockMode, LockSettings
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.archive.places import storage_at
from watchkeeper.ledger.archive.s3 import TRIES, S3Storage
from watchkeeper.ledger.archive.storage import Storage

LOCK = LockSettings(mode=LockMode.COMPLIANCE, retain="30d")


class TestDirectory(StorageSuite):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return DirectoryStorage(tmp_path / "an" / "archive")


class TestS3(StorageSuite):
    @pytest.fixture
    def storage(self, s3: S3Server) -> Storage:
        return S3Storage(s3.settings(s3.bucket(lock=False)))


class TestS3WithLock(StorageSuite):
    @pytest.fixture
    def storage(self, s3: S3Server) -> Storage:
        return S3Storage(s3.settings(s3.bucket(), LOCK))


def test_a_half_written_file_is_cleared_away_and_never_seen(tmp_path: Path) -> None:
    (tmp_path / ".part-0011").write_bytes(b"half")
    storage = DirectoryStorage(tmp_path)
    storage.prepare()
    assert list(tmp_path.iterdir()) == []
    storage.put("a/b", b"whole", OCTETS, None)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("name", ["../outside", "a/../../b", ".part-1"])
def test_a_name_does_not_lead_out_of_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        DirectoryStorage(tmp_path / "archive").put(name, b"", OCTETS, None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_directory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        DirectoryStorage(tmp_path / "file" / "archive").prepare()
    storage = DirectoryStorage(tmp_path)
    with pytest.raises(UnavailableError, match="did not do as asked"):
        storage.put("file/below", b"", OCTETS, None)


def test_a_locked_copy_cannot_be_deleted_by_its_owner(s3: S3Server) -> None:
    bucket = s3.bucket()
    storage = S3Storage(s3.settings(bucket, LOCK))
    storage.put("a", b"1", OCTETS, storage.locked_until(SystemClock().now()))
    (version,) = s3.client.list_object_versions(Bucket=bucket)["Versions"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    found = s3.client.head_object(Bucket=bucket, Key="logs/one/a")
    assert (found["ObjectLockMode"], found["ContentType"]) == ("COMPLIANCE", OCTETS)


def test_a_bucket_without_a_lock_is_refused_where_one_is_asked_for(s3: S3Server) -> None:
    with pytest.raises(ConfigError, match="has no object lock") as refused:
        S3Storage(s3.settings(s3.bucket(lock=False), LOCK)).prepare()
    assert "make a bucket with object lock" in refused.value.next_step


def test_a_bucket_that_is_not_there_is_told(s3: S3Server) -> None:
    with pytest.raises(ConfigError, match="there is no bucket no-such-bucket"):
        S3Storage(s3.settings("no-such-bucket")).prepare()


def test_without_credentials_it_says_where_to_give_them(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ConfigError, match="NoCredentialsError"):
        storage_at(f"s3://{s3.bucket()}/logs", endpoint_url=s3.url).get("a")


def test_credentials_come_from_the_environment_too(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.bucket()
    S3Storage(s3.settings(bucket)).put("a", b"1", OCTETS, None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    stored = storage_at(f"s3://{bucket}/logs/one", endpoint_url=s3.url).get("a")
    assert stored is not None
    assert stored.body == b"1"


@pytest.mark.parametrize("place", ["s3://", "s3://Upper/x", "s3://bucket/a b"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(InputError):
        storage_at(place)


def test_nobody_listening_is_tried_a_few_times_then_told(s3: S3Server) -> None:
    pauses: list[float] = []
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnavailableError, match="did not answer"):
        S3Storage(s3.settings("some-bucket", url=url), pause=pauses.append).prepare()
    assert len(pauses) == TRIES - 1
    assert pauses[-1] > pauses[0]


class TestFaults:
    @pytest.fixture
    async def proxy(self, s3: S3Server) -> AsyncIterator[FaultProxy]:
        async with fault_proxy(s3.url) as proxy:
            yield proxy

    async def tried(self, s3: S3Server, proxy: FaultProxy, fault: Fault, heals_after: int) -> tuple[bool, int]:
        """A write that meets a fault for some tries; whether it wrote, and how often it paused."""
        pauses: list[float] = []
        with proxy.meet(fault):

            def pause(seconds: float) -> None:
                pauses.append(seconds)
                if len(pauses) == heals_after:
                    proxy._fault = None

            storage = S3Storage(s3.settings(s3.bucket(), url=proxy.url), pause=pause)
            wrote = await asyncio.to_thread(storage.put, "a", b"1", OCTETS, None)
            stored = await asyncio.to_thread(storage.get, "a")
        assert stored is not None
        assert stored.body == b"1"
        return wrote, len(pauses)

    @pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.ERROR])
    async def test_what_waiting_helps_is_tried_again(self, s3: S3Server, proxy: FaultProxy, fault: Fault) -> None:
        assert await self.tried(s3, proxy, fault, 3) == (True, 3)

    async def test_an_answer_that_was_lost_finds_its_own_write(self, s3: S3Server, proxy: FaultProxy) -> None:
        assert await self.tried(s3, proxy, Fault.DROP_AFTER_EFFECT, 1) == (False, 1)

    async def test_no_permission_is_told_at_once(self, s3: S3Server, proxy: FaultProxy) -> None:
        storage = S3Storage(s3.settings(s3.bucket(), url=proxy.url), pause=lambda seconds: pytest.fail("no pause"))
        with proxy.meet(Fault.UNAUTHORIZED), pytest.raises(ForbiddenError, match="does not let us write a") as refused:
            await asyncio.to_thread(storage.put, "a", b"1", OCTETS, None)
        assert "PutObjectRetention" in refused.value.cause
        assert "a-secret-key" not in refused.value.diagnostics()
