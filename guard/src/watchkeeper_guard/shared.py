"""What is known of runs in one memory-mapped file, which all workers of a gateway on one host share.

A fixed table: a run has one of eight places, and where all are taken the one that called longest ago is forgotten. It
outlives the workers: kill -9 loses at most the record that was being written, whose checksum then fails and which
starts anew (counted as torn). It does NOT outlive the machine's power surely, and is not shared between hosts.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watchkeeper_guard.runs import Answer, Change, RunState, StateBusyError, alive

MAGIC = b"WKGUARD1"
WAYS = 8
SLOTS = 16_384
LOCK_WITHIN_S = 0.002
_PAUSE_S = 0.00005

_HISTORY = 64
_HEAD = struct.Struct("<8sQQQ")
_SLOT = struct.Struct(f"<16sQqqdH{_HISTORY}Q")
_CHECK = struct.Struct("<I")
_HEAD_SIZE = 64
_SLOT_SIZE = (_SLOT.size + _CHECK.size + 7) // 8 * 8
_NOBODY = bytes(16)
_LIBC = ctypes.PyDLL(None, use_errno=True)
"""Called without giving the interpreter's lock away, which fcntl.flock does: another thread would then keep a call
waiting for up to five milliseconds, twice."""


class SharedRuns:
    """`Runs` in a file. A lock that is not free within two milliseconds is a doubt (StateBusyError), not a wait."""

    def __init__(self, path: Path, slots: int = SLOTS) -> None:
        self._slots = slots // WAYS * WAYS
        self._size = _HEAD_SIZE + self._slots * _SLOT_SIZE
        self._within = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._begin()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _begin(self) -> None:
        head = os.pread(self._file, _HEAD.size, 0)
        fits = len(head) == _HEAD.size and os.fstat(self._file).st_size == self._size
        if not fits or _HEAD.unpack(head)[:2] != (MAGIC, self._slots):
            os.ftruncate(self._file, 0)
            os.ftruncate(self._file, self._size)
            os.pwrite(self._file, _HEAD.pack(MAGIC, self._slots, 0, 0), 0)
        self._map = mmap.mmap(self._file, self._size)

    def close(self) -> None:
        self._map.close()
        os.close(self._file)

    @property
    def forgotten(self) -> int:
        return self._head()[0]

    @property
    def torn(self) -> int:
        """Records that were half written when their worker died."""
        return self._head()[1]

    def update(self, key: bytes, now: float, change: Change[Answer]) -> Answer:
        with self._locked():
            place, state = self._find(key, now)
            changed, answer = change(alive(state, now))
            if changed is not None:
                self._write(place, key, changed)
            return answer

    def get(self, key: bytes, now: float) -> RunState:
        with self._locked():
            return alive(self._find(key, now)[1], now)

    def _find(self, key: bytes, now: float) -> tuple[int, RunState | None]:
        """Where the run is, or would be written, and what is there of it."""
        bucket = int.from_bytes(key[:8], "little") % (self._slots // WAYS) * WAYS
        oldest, oldest_at = -1, float("inf")
        for number in range(bucket, bucket + WAYS):
            place = _HEAD_SIZE + number * _SLOT_SIZE
            owner = self._map[place : place + 16]
            if owner == key:
                state = self._read(place)
                if state is None:
                    self._count(torn=1)
                return place, state
            seen_at = -1.0 if owner == _NOBODY else _seen_at(self._map, place)
            if seen_at < oldest_at:
                oldest, oldest_at = place, seen_at
        return oldest, None

    def _read(self, place: int) -> RunState | None:
        raw = self._map[place : place + _SLOT.size]
        (check,) = _CHECK.unpack_from(self._map, place + _SLOT.size)
        if zlib.crc32(raw) != check:
            return None
        _, calls, tokens, micro_usd, seen_at, kept, *history = _SLOT.unpack(raw)
        return RunState(calls, tokens, micro_usd, tuple(history[:kept]), seen_at)

    def _write(self, place: int, key: bytes, state: RunState) -> None:
        if self._map[place : place + 16] not in (key, _NOBODY):
            self._count(forgotten=1)
        history = state.history + (0,) * (_HISTORY - len(state.history))
        kept = len(state.history)
        raw = _SLOT.pack(key, state.calls, state.tokens, state.micro_usd, state.seen_at, kept, *history)
        self._map[place : place + _SLOT.size + _CHECK.size] = raw + _CHECK.pack(zlib.crc32(raw))

    def _head(self) -> tuple[int, int]:
        _, _, forgotten, torn = _HEAD.unpack_from(self._map, 0)
        return forgotten, torn

    def _count(self, forgotten: int = 0, torn: int = 0) -> None:
        before = self._head()
        _HEAD.pack_into(self._map, 0, MAGIC, self._slots, before[0] + forgotten, before[1] + torn)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Against the threads of this process, and against the other processes. Never for longer than a moment: a
        worker that is frozen with the lock must not freeze the others."""
        until = time.monotonic() + LOCK_WITHIN_S
        if not self._within.acquire(timeout=LOCK_WITHIN_S):
            raise StateBusyError("another thread holds the runs")
        try:
            while True:
                if _LIBC.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB) == 0:
                    break
                if time.monotonic() > until:
                    raise StateBusyError("another worker holds the runs")
                time.sleep(_PAUSE_S)
            try:
                yield
            finally:
                _LIBC.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._within.release()


def _seen_at(table: mmap.mmap, place: int) -> float:
    seen_at: float
    (seen_at,) = struct.unpack_from("<d", table, place + 16 + 24)
    return seen_at
