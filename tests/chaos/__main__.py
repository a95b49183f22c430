"""`python -m tests.chaos --suite watch --runs N --seed S`: seeded crashes at random points; resumable.

Writes chaos-<suite>.json after every run: commit, seeds, counts, failures. A second call with the same arguments goes
on where the first one ended.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.crashes import EFFECTS, crash, opened
from tests.chaos.test_kill_at_every_node import ROUTES
from tests.testbed.watch import Nursery, open_nursery

SENDS = ("claimed", "sent", "settled", "claimed@2", "sent@2", "settled@2")
ON_THE_WAY = ("triage", "diagnose", "propose", "decide")


def points(route: str) -> list[str]:
    """Where a daemon on this route surely comes by."""
    nodes = [*ON_THE_WAY, *(ROUTES.get(route) or ("approve",))]
    found = [f"{side}:{node}" for node in dict.fromkeys(nodes) for side in ("enter", "exit")]
    return found + (list(SENDS) if EFFECTS[route] else [])


def plan(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    route = rng.choice(sorted(EFFECTS))
    return {"seed": seed, "route": route, "mode": rng.choice(["500", "429"]), "kills": [rng.choice(points(route))]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--suite", choices=["watch"], default="watch")
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report = Path(f"chaos-{options.suite}.json")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    head = {"suite": options.suite, "commit": commit, "seed": options.seed, "runs": options.runs}
    done = _resumed(report, head)
    with open_nursery() as nursery:
        for number in range(len(done), options.runs):
            done.append(_run(nursery, plan(options.seed * 1_000_000 + number)))
            report.write_text(json.dumps({**head, **_counts(done), "done": done}, indent=2) + "\n")
            print(f"{number + 1}/{options.runs} {done[-1]}", flush=True)
    print(json.dumps(_counts(done)))
    return int(any(each["failure"] for each in done))


def _resumed(report: Path, head: dict[str, Any]) -> list[dict[str, Any]]:
    if not report.exists():
        return []
    before = json.loads(report.read_text())
    same = all(before.get(name) == value for name, value in head.items() if name != "runs")
    return list(before["done"]) if same else []


def _counts(done: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "finished": len(done),
        "failures": sum(bool(each["failure"]) for each in done),
        "kills": sum(len(each["kills"]) for each in done),
        "effects": sum(each["effects"] for each in done),
        "routes": dict(Counter(each["route"] for each in done)),
        "seconds": round(sum(each["seconds"] for each in done), 1),
    }


def _run(nursery: Nursery, chosen: dict[str, Any]) -> dict[str, Any]:
    began, failure, effects = time.monotonic(), "", 0
    with tempfile.TemporaryDirectory(prefix="watchkeeper-chaos-") as directory:
        try:
            with opened(nursery, Path(directory) / "run", chosen["route"], chosen["seed"] % 1000) as watch:
                result = crash(watch, chosen["route"], tuple(chosen["kills"]), chosen["mode"])
            effects = sum(result.effects.values())
        except AssertionError as error:
            failure = str(error)[:4000]
    return {**chosen, "effects": effects, "failure": failure, "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    sys.exit(main())
