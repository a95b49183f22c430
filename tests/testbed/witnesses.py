"""Trees to show to a witness, honest and forked; the witness that is killed; and `watchkeeper witness` as a process.

`python -m tests.testbed.witnesses DIR LOGKEY` stores a cosignature of eight entries and kills itself (SIGKILL) before
it could tell anybody.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
from pydantic import SecretStr

from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess
from watchkeeper.core.clock import ManualClock
from watchkeeper.ledger.cosigning.addcheckpoint import AddCheckpoint
from watchkeeper.ledger.cosigning.cosignature import CosignerKey, CosigningKey
from watchkeeper.ledger.cosigning.witness import Witness, load_keys, logs_of, make_keys
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note
from watchkeeper.ledger.tree.merkle import (
    EMPTY_ROOT,
    Node,
    Tree,
    build_proof,
    consistency_spans,
    leaf_hash,
    perfect_root,
)

ORIGIN = "log.example.com/test"
NAME = "witness.example.com/w1"


@cache
def _leaf(index: int, fork_at: int | None) -> bytes:
    """From `fork_at` on the leaves are others than those of the log that is honest."""
    other = fork_at is not None and index >= fork_at
    return leaf_hash(f"{'other ' if other else ''}entry {index}".encode())


@dataclass(frozen=True)
class Trees:
    """One log's trees of every size."""

    key: SigningKey
    fork_at: int | None = None

    def root(self, size: int) -> bytes:
        tree = Tree()
        tree.extend(_leaf(index, self.fork_at) for index in range(size))
        return tree.root() if size else EMPTY_ROOT

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        def hash_of(node: Node) -> bytes:
            level, index = node
            return perfect_root([_leaf(at, self.fork_at) for at in range(index << level, (index + 1) << level)])

        return build_proof(consistency_spans(old, new), hash_of) if old else ()

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.key.name, size, self.root(size))

    def note(self, size: int) -> str:
        return sign_checkpoint(self.checkpoint(size), self.key)

    def request(
        self, old: int, new: int, *, old_said: int | None = None, proof: tuple[bytes, ...] | None = None
    ) -> AddCheckpoint:
        """The honest request, but for what is said otherwise."""
        shown = self.proof(old, new) if proof is None else proof
        return request(self.key, self.checkpoint(new), old if old_said is None else old_said, shown)


def request(key: SigningKey, checkpoint: Checkpoint, old: int, proof: tuple[bytes, ...] = ()) -> AddCheckpoint:
    return AddCheckpoint(old, proof, Note.from_text(sign_checkpoint(checkpoint, key)))


@dataclass(frozen=True)
class Running:
    url: str
    key: CosignerKey
    child: ChildProcess

    def newest(self, origin: str) -> str:
        """What it shows to monitors."""
        reply = httpx.get(f"{self.url}/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint", timeout=10)
        reply.raise_for_status()
        return reply.text


@contextmanager
def running(directory: Path, *log_vkeys: str, name: str = NAME, port: int = 0) -> Iterator[Running]:
    """`watchkeeper witness serve` as its users run it. The key is made if there is none."""
    port = port or free_port()
    if not (directory / "witness.key").exists():
        make_keys(directory, name, post_quantum=False)
    argv = [sys.executable, "-m", "watchkeeper.cli.main", "witness", "serve", "--data", str(directory)]
    argv += ["--listen", f"{LOOPBACK}:{port}"]
    for vkey in log_vkeys:
        argv += ["--log", vkey]
    url = f"http://{LOOPBACK}:{port}"
    with ChildProcess("witness", argv, log=directory / "witness.log") as child:
        child.wait_for_http(f"{url}/healthz", timeout_s=60)
        yield Running(url, load_keys(directory)[0].public, child)


async def _store_and_die(directory: Path, log: SigningKey) -> None:
    witness = Witness(directory, (CosigningKey.generate(NAME),), logs_of([log.verifier]), ManualClock())
    await witness.open()
    answer = await witness.add(Trees(log).request(0, 8))
    assert isinstance(answer, str)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_store_and_die(Path(sys.argv[1]), SigningKey.from_secret(SecretStr(sys.argv[2]))))
