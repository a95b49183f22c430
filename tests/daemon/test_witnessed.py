"""A running daemon and `watchkeeper witness` as a process beside it: cosigned end to end, through a kill of the
witness, and stopped when an old copy of the database, or a forked one, stands in the place of the log that it knows.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.testbed.receiver import Receiver
from tests.testbed.witnesses import Running
from tests.testbed.witnesses import running as witness

from watchkeeper.core.entries import Draft, EntryType, Eviction
from watchkeeper.daemon.life import Daemon, running
from watchkeeper.daemon.settings import Settings
from watchkeeper.ledger.cosigning.cosignature import CosigningKey
from watchkeeper.ledger.cosigning.quorum import read_policy
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey, create_key
from watchkeeper.ledger.signing.note import Note

pytestmark = pytest.mark.timeout(300)  # several daemons and commands, each a process that starts

ORIGIN = "watchkeeper.test/log"
WAIT_S = 60.0


@dataclass
class Place:
    """A data directory whose log has its key before its first daemon."""

    directory: Path
    key: SigningKey
    receiver: Receiver

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def policy(self) -> Path:
        return self.directory / "policy"

    def settings(self, *witnesses: Running) -> Settings:
        lines = [f"witness w{n} {each.key.vkey}\n" for n, each in enumerate(witnesses)]
        members = " ".join(f"w{n}" for n in range(len(witnesses)))
        log = f"log {self.key.verifier.vkey}\n"
        self.policy.write_text(log + "".join(lines) + f"group g all {members}\nquorum g\n")
        asked = [{"name": f"w{n}", "url": each.url, "vkey": each.key.vkey} for n, each in enumerate(witnesses)]
        return Settings.model_validate(
            {
                "data_dir": self.data,
                "api": {"port": 0},
                "notify": [{"name": "pager", "url": f"{self.receiver.url}/page"}],
                "ledger": {"origin": ORIGIN, "witnesses": asked, "policy_file": self.policy},
            }
        )

    def told(self, kind: str) -> list[str]:
        notices = [json.loads(each.body) for each in self.receiver.deliveries]
        return [notice["reason"] for notice in notices if notice["kind"] == kind]

    def keep_a_copy(self) -> None:
        shutil.copytree(self.data, self.directory / "copy")

    def restore_the_copy(self) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(self.directory / "copy", self.data)


@dataclass
class One:
    """A running daemon."""

    daemon: Daemon
    api: httpx.AsyncClient

    @property
    def parts(self) -> Any:
        return self.daemon._parts

    async def report(self) -> dict[str, Any]:
        reply = await self.api.get("/v1/ledger/witnesses")
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    async def until(self, ready: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        end = asyncio.get_running_loop().time() + WAIT_S
        while not ready(report := await self.report()):
            assert asyncio.get_running_loop().time() < end, f"no {what}: {report} {self.parts.health.why}"
            await asyncio.sleep(0.1)
        return report

    async def write(self) -> None:
        entry = Draft(type=EntryType.EVICTION, subject="", data=Eviction(what="test", count=1, reason="test"))
        async with self.parts.store.write() as tx:
            await self.parts.ledger.append(tx, entry)

    async def write_and_wait(self) -> dict[str, Any]:
        """The report once an entry more is cosigned: that of the start alone may have been cosigned before."""
        before = await self.size()
        await self.write()
        return await self.until(lambda report: report["size"] > before and all_cosigned(report), "cosigned entry")

    async def size(self) -> int:
        size: int = await self.parts.log.size()
        return size


@pytest.fixture
def place(tmp_path: Path, receiver: Receiver) -> Place:
    (tmp_path / "data").mkdir(mode=0o700)
    return Place(tmp_path, create_key(tmp_path / "data" / "ledger.key", ORIGIN), receiver)


@asynccontextmanager
async def daemon(place: Place, *witnesses: Running) -> AsyncIterator[One]:
    async with running(place.settings(*witnesses)) as (opened, url):
        headers = {"Authorization": f"Bearer {(place.data / 'local.token').read_text().strip()}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20, trust_env=False) as api:
            yield One(opened, api)


def all_cosigned(report: dict[str, Any]) -> bool:
    return bool(report["quorum"] == "met" and report["quorum_size"] == report["size"] > 0)


async def command(place: Place, *words: str) -> tuple[int, str]:
    """The command line as its users run it, with its exit code."""
    argv = ("-m", "watchkeeper.cli.main", "--data-dir", str(place.data), *words)
    child = await asyncio.create_subprocess_exec(
        sys.executable, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await child.communicate()
    return child.returncode or 0, out.decode()


async def test_a_daemon_s_log_is_cosigned_shown_exported_and_verified_against_the_policy(place: Place) -> None:
    vkey = place.key.verifier.vkey
    with witness(place.directory / "w0", vkey) as first, witness(place.directory / "w1", vkey, name="w.two") as second:
        async with daemon(place, first, second) as one:
            report = await one.until(all_cosigned, "cosigned checkpoint")
            assert [each["trouble"] for each in report["witnesses"]] == ["", ""]
            note = (await one.api.get("/v1/ledger/checkpoint", params={"cosigned": True})).text
            assert read_policy(place.policy).open(note).size == report["size"]
            assert len(Note.from_text((await one.api.get("/v1/ledger/checkpoint")).text).signatures) == 3

            code, said = await command(place, "ledger", "witness", "status")
            assert (code, "the quorum is met up to" in said) == (0, True), said
            code, said = await command(place, "ledger", "verify", "--policy", str(place.policy))
            assert (code, "rollback excluded" in said) == (0, True), said
            code, said = await command(place, "ledger", "verify")
            assert (code, "rollback not excluded" in said) == (0, True), said
            code, said = await command(place, "ledger", "checkpoint", "--cosigned")
            assert (code, said) == (0, note)
            code, said = await command(place, "ledger", "export", str(place.directory / "export"))
            assert code == 0, said
    offline = ("ledger", "verify", "--export", str(place.directory / "export"), "--vkey", vkey)
    code, said = await command(place, *offline, "--policy", str(place.policy))
    assert (code, "rollback excluded" in said) == (0, True), said
    strict = place.directory / "strict"
    nobody = CosigningKey.generate("nobody.example").public
    strict.write_text(place.policy.read_text().replace(first.key.vkey, nobody.vkey))
    code, said = await command(place, *offline, "--policy", str(strict))
    assert (code, "policy: no_quorum" in said, "rollback not excluded" in said) == (10, True, True), said


async def test_a_witness_that_is_killed_holds_up_nothing_and_is_caught_up_with(place: Place) -> None:
    with witness(place.directory / "w0", place.key.verifier.vkey) as only:
        async with daemon(place, only) as one:
            await one.until(all_cosigned, "cosigned checkpoint")
            only.child.kill9()
            before = await one.size()
            await one.write()
            report = await one.until(lambda report: bool(report["witnesses"][0]["trouble"]), "trouble")
            assert (report["size"] > before, one.parts.health.acting) == (True, True)
            only.child.start()
            await one.until(all_cosigned, "cosigned checkpoint after the kill")
            checkpoint = open_checkpoint(only.newest(ORIGIN), [place.key.verifier])
            assert checkpoint.size == await one.size()


async def test_invariant_11_an_old_copy_of_the_database_is_not_signed_on_while_a_witness_remembers(
    place: Place,
) -> None:
    with witness(place.directory / "w0", place.key.verifier.vkey) as only:
        async with daemon(place, only) as one:
            await one.until(all_cosigned, "cosigned checkpoint")
        place.keep_a_copy()
        async with daemon(place, only) as one:
            report = await one.write_and_wait()
        newest, newer = report["size"], place.directory / "newer"
        shutil.copytree(place.data, newer)

        place.restore_the_copy()
        async with daemon(place, only) as one:
            assert (one.parts.health.acting, one.parts.health.why) == (False, "ledger_disputed")
            old = await one.size()
            assert old < newest
            await one.until(lambda report: report["witnesses"][0]["disputes"] > 2, "asking again")
            assert (await one.size(), one.parts.health.acting) == (old, False), "nothing is signed"
            place.receiver.wait_for(lambda seen: "ledger_disputed" in place.told("acting_stopped"))
            code, said = await command(place, "ledger", "witness", "status")
            assert (code, f"has cosigned {newest} entries" in " ".join(said.split())) == (10, True), said
        assert open_checkpoint(only.newest(ORIGIN), [place.key.verifier]).size == newest

        shutil.rmtree(place.data)
        shutil.copytree(newer, place.data)
        async with daemon(place, only) as one:
            await one.until(all_cosigned, "cosigned checkpoint of the newer database")
            assert one.parts.health.acting


async def test_invariant_11_a_log_that_was_forked_while_no_witness_answered_stops_at_its_next_word(
    place: Place,
) -> None:
    with witness(place.directory / "w0", place.key.verifier.vkey) as only:
        async with daemon(place, only) as one:
            await one.until(all_cosigned, "cosigned checkpoint")
        place.keep_a_copy()
        async with daemon(place, only) as one:
            known = (await one.write_and_wait())["size"]

        place.restore_the_copy()
        only.child.kill9()
        async with daemon(place, only) as one:
            assert one.parts.health.acting, "nobody says otherwise"
            for _ in range(4):
                await one.write()
            await one.until(lambda report: bool(report["size"] > known), "growth of the fork")
            only.child.start()
            report = await one.until(lambda report: bool(report["witnesses"][0]["disputed"]), "dispute")
            assert "has cosigned another tree" in report["witnesses"][0]["trouble"]
            assert (one.parts.health.acting, one.parts.health.why) == (False, "ledger_disputed")
        assert open_checkpoint(only.newest(ORIGIN), [place.key.verifier]).size == known
