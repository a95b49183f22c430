"""SUITE=tamper: seeded tamperings by whoever owns the database and the files, but not the key.

Each one starts from a fresh copy of an honest log. It is found if verify or fsck, with a remembered checkpoint, names
the place. `missed` and `misplaced` are counted apart; either fails the run.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.suite import Done, Plan
from tests.chaos.tampering import around, entries, files
from tests.chaos.tampering.world import Honest, World, copied, honest_log
from watchkeeper.ledger.checks.audit import VerifyReport
from watchkeeper.ledger.checks.fsck import fsck
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.ledger.reader import LogReader

KINDS: dict[str, Callable[[World, random.Random], set[str]]] = {
    kind.__name__: kind for kind in (*entries.KINDS, *around.KINDS)
}


FILES = {kind.__name__: kind for kind in files.KINDS}


class TamperSuite:
    def plan(self, seed: int) -> Plan:
        return {"seed": seed, "kind": random.Random(seed).choice(sorted({**KINDS, **FILES}))}

    @contextmanager
    def opened(self) -> Iterator[Callable[[Plan], dict[str, Any]]]:
        with tempfile.TemporaryDirectory(prefix="watchkeeper-tamper-") as directory:
            honest = asyncio.run(honest_log(Path(directory)))
            asyncio.run(_holds(honest))
            yield lambda plan: _tampered(honest, plan)

    def counts(self, done: list[Done]) -> dict[str, Any]:
        return {
            "tamperings": dict(sorted(Counter(each["kind"] for each in done).items())),
            "found": sum(each.get("found", False) for each in done),
            "found_by": dict(Counter(each.get("by", "none") for each in done)),
        }


async def _holds(honest: Honest) -> None:
    """Nothing is found where nothing was changed."""
    with tempfile.TemporaryDirectory() as directory:
        for report in await _reports(copied(honest, Path(directory))):
            assert report.ok, report.lines()


def _tampered(honest: Honest, plan: Plan) -> dict[str, Any]:
    rng = random.Random(plan["seed"])
    rng.random()  # the kind was drawn with the first
    with tempfile.TemporaryDirectory(prefix="watchkeeper-tamper-") as directory:
        if plan["kind"] in FILES:
            world = World(honest, Path(directory))
            told, meant = FILES[plan["kind"]](world, rng)
            by = "files" if told else ""
        else:
            world = copied(honest, Path(directory))
            meant = KINDS[plan["kind"]](world, rng)
            verified, checked = asyncio.run(_reports(world))
            by = "verify" if not verified.ok else "fsck" if not checked.ok else ""
            told = {problem.where for report in (verified, checked) for problem in report.problems}
    what = f"{plan['kind']} of seed {plan['seed']} at {sorted(meant)[:5]}"
    assert by, f"{what} was not found"
    assert any(_fits(place, meant) for place in told), f"{what} was told at {sorted(told)[:9]}"
    return {"found": True, "by": by}


def _fits(place: str, meant: set[str]) -> bool:
    """A long name may be told by its beginning."""
    return place in meant or (place.endswith("…") and any(each.startswith(place[:-1]) for each in meant))


async def _reports(world: World) -> tuple[VerifyReport, VerifyReport]:
    store = world.store()
    try:
        reader, honest = LogReader(store), world.honest
        return (
            await verify(reader, honest.vkey, honest.anchor),
            await fsck(reader, honest.vkey, honest.anchor),
        )
    finally:
        await store.close()
