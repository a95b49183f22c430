"""What a seeded suite is, and the loop that runs one: resumable, its report written after every run."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Plan = dict[str, Any]
"""What one run will do, drawn from its seed alone; it goes into the report as it is."""

Done = dict[str, Any]
"""The plan, with `failure` (empty if it held), `seconds` and the suite's own counts."""


class Suite(Protocol):
    def plan(self, seed: int) -> Plan: ...

    def opened(self) -> AbstractContextManager[Callable[[Plan], dict[str, Any]]]:
        """What runs a plan and returns its counts; raises AssertionError where the run does not hold."""
        ...

    def counts(self, done: list[Done]) -> dict[str, Any]:
        """The suite's own totals."""
        ...


@dataclass(frozen=True)
class Campaign:
    """`runs` runs of a suite, the n-th with the seed `seed` * 1,000,000 + n."""

    suite: str
    seed: int
    runs: int
    report: Path
    write_every: int = 1
    """After how many runs the report is written; more for suites of many thousand short ones."""

    def finish(self, suite: Suite) -> list[Done]:
        """Goes on where a call with the same arguments, on the same commit, ended."""
        done = self._resumed()
        with suite.opened() as run:
            for number in range(len(done), self.runs):
                done.append(_one(run, suite.plan(self.seed * 1_000_000 + number)))
                last = done[-1]
                if last["failure"] or (number + 1) % self.write_every == 0 or number + 1 == self.runs:
                    self._write(suite, done)
                    print(f"{number + 1}/{self.runs} {last}", flush=True)
        return done

    def _head(self) -> dict[str, Any]:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        return {"suite": self.suite, "commit": commit.stdout.strip(), "seed": self.seed, "runs": self.runs}

    def _write(self, suite: Suite, done: list[Done]) -> None:
        whole = {
            **self._head(),
            "finished": len(done),
            "failures": sum(bool(each["failure"]) for each in done),
            "seconds": round(sum(each["seconds"] for each in done), 1),
            **suite.counts(done),
            "done": done,
        }
        scratch = self.report.with_suffix(".new")
        scratch.write_text(json.dumps(whole, indent=2) + "\n")
        scratch.replace(self.report)

    def _resumed(self) -> list[Done]:
        if not self.report.exists():
            return []
        before = json.loads(self.report.read_text())
        same = all(before.get(name) == value for name, value in self._head().items() if name != "runs")
        return list(before["done"]) if same else []


def _one(run: Callable[[Plan], dict[str, Any]], plan: Plan) -> Done:
    began, failure, counts = time.monotonic(), "", {}
    try:
        counts = run(plan)
    except AssertionError as error:
        failure = str(error)[:4000] or repr(error)
    return {**plan, **counts, "failure": failure, "seconds": round(time.monotonic() - began, 2)}
