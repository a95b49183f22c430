"""SUITE=watch: the daemon is killed at a random point of an incident, started again, and judged by the gateway."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.crashes import EFFECTS, crash, opened
from tests.chaos.suite import Done, Plan
from tests.chaos.test_kill_at_every_node import ROUTES
from tests.testbed.watch import open_nursery

SENDS = ("claimed", "sent", "settled", "claimed@2", "sent@2", "settled@2")
ON_THE_WAY = ("triage", "diagnose", "propose", "decide")


def points(route: str) -> list[str]:
    """Where a daemon on this route surely comes by."""
    nodes = [*ON_THE_WAY, *(ROUTES.get(route) or ("approve",))]
    found = [f"{side}:{node}" for node in dict.fromkeys(nodes) for side in ("enter", "exit")]
    return found + (list(SENDS) if EFFECTS[route] else [])


class WatchSuite:
    def plan(self, seed: int) -> Plan:
        rng = random.Random(seed)
        route = rng.choice(sorted(EFFECTS))
        return {"seed": seed, "route": route, "mode": rng.choice(["500", "429"]), "kills": [rng.choice(points(route))]}

    @contextmanager
    def opened(self) -> Iterator[Callable[[Plan], dict[str, Any]]]:
        with open_nursery() as nursery:

            def run(chosen: Plan) -> dict[str, Any]:
                with (
                    tempfile.TemporaryDirectory(prefix="watchkeeper-chaos-") as directory,
                    opened(nursery, Path(directory) / "run", chosen["route"], chosen["seed"] % 1000) as watch,
                ):
                    result = crash(watch, chosen["route"], tuple(chosen["kills"]), chosen["mode"])
                return {"effects": sum(result.effects.values())}

            yield run

    def counts(self, done: list[Done]) -> dict[str, Any]:
        return {
            "kills": sum(len(each["kills"]) for each in done),
            "effects": sum(each.get("effects", 0) for each in done),
            "routes": dict(Counter(each["route"] for each in done)),
        }
