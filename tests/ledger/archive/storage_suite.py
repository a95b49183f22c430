"""What every storage of an archive must do; each kind runs it against the real thing (`test_storages.py`)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from watchkeeper.core.clock import SystemClock
from watchkeeper.ledger.archive.storage import Storage

OCTETS = "application/octet-stream"


class StorageSuite:
    """Subclass it and give the fixture `storage`."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError

    def put(self, storage: Storage, name: str, body: bytes) -> bool:
        return storage.put(name, body, OCTETS, storage.locked_until(SystemClock().now()))

    def test_what_is_put_is_read_back_whole(self, storage: Storage) -> None:
        storage.prepare()
        for name, body in (("a", b""), ("tile/0/x001/234.p/7", b"\x00\r\n\xff" * 99), ("big", os.urandom(3 << 20))):
            assert storage.get(name) is None
            assert self.put(storage, name, body)
            stored = storage.get(name)
            assert stored is not None
            assert stored.body == body

    def test_nothing_is_overwritten(self, storage: Storage) -> None:
        storage.prepare()
        assert self.put(storage, "manifests/0.json", b"first")
        assert not self.put(storage, "manifests/0.json", b"second")
        stored = storage.get("manifests/0.json")
        assert stored is not None
        assert stored.body == b"first"

    def test_of_many_at_once_one_writes(self, storage: Storage) -> None:
        storage.prepare()
        with ThreadPoolExecutor(8) as pool:
            wrote = list(pool.map(lambda n: self.put(storage, "deep/er/name", b"%d" % n), range(8)))
        stored = storage.get("deep/er/name")
        assert wrote.count(True) == 1
        assert stored is not None
        assert stored.body == b"%d" % wrote.index(True)

    def test_preparing_twice_changes_nothing(self, storage: Storage) -> None:
        storage.prepare()
        self.put(storage, "a", b"1")
        storage.prepare()
        stored = storage.get("a")
        assert stored is not None
        assert stored.body == b"1"

    def test_a_lock_is_told_of_what_has_one(self, storage: Storage) -> None:
        storage.prepare()
        until = storage.locked_until(SystemClock().now())
        storage.put("a", b"1", OCTETS, until)
        stored = storage.get("a")
        assert stored is not None
        assert stored.locked_until == until
