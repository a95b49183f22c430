"""How many recorded decisions a second `ledger replay --check` makes again and compares: a part of `bench.ledger`.

What is measured is what the command runs: fresh processes over an export's files, start and all, as many as there are
cores. Every decision has an input of its own, under three policies of forty documents one after another; nothing is
kept from one decision to the next but the policies. Fetching the export from a daemon is not in it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from tests.testbed.decided import varied_export

from bench.report import Figure, write
from watchkeeper.cli.ledger.fresh import recheck
from watchkeeper.ledger.exports.jsonlines import size_of
from watchkeeper.ledger.exports.layout import ENTRIES

DECISIONS = 40_000
COPIES = 5
"""The file holds the decisions so many times, so that starting the processes does not count for much; a decision is
made again each time it comes."""
RUNS = 3


def replay_check(decisions: int = DECISIONS, copies: int = COPIES, runs: int = RUNS, seed: int = 1) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as name:
        export = varied_export(Path(name) / "export", decisions, seed)
        entries = export / ENTRIES
        entries.write_bytes(entries.read_bytes() * copies)
        rates = [_rate(export, decisions * copies) for _ in range(runs)]
        megabytes = size_of(entries) / 1e6
    note = (
        f"{decisions * copies} decisions ({decisions} distinct inputs, {megabytes:.0f} MB) under three policies of 40 "
        f"documents, {os.cpu_count()} processes, their start included; each compared byte for byte"
    )
    return [Figure.median("ledger", "replay_check", "decisions/s", rates, note)]


def _rate(export: Path, expected: int) -> float:
    began = time.perf_counter()
    report = recheck(export, lambda done: None)
    took = time.perf_counter() - began
    assert (report.matched, report.differed) == (expected, ()), "a rate of wrong answers is no rate"
    return expected / took


if __name__ == "__main__":
    write(replay_check(), sys.stdout, as_json="--json" in sys.argv[1:])
