"""What share of seeded tamperings verify and fsck find, with the place named: the chaos suite's own, a few of them.

The suite (`make chaos SUITE=tamper`) is the proof; this is its figure for the table, from fewer seeds.
"""

from __future__ import annotations

from tests.chaos.tamper_suite import TamperSuite

from bench.report import Figure


def tamper_found(count: int, seed: int = 1) -> list[Figure]:
    suite = TamperSuite()
    with suite.opened() as run:
        found, kinds = 0, set[str]()
        for number in range(count):
            plan = suite.plan(seed * 1_000_000 + number)
            kinds.add(str(plan["kind"]))
            try:
                run(plan)
                found += 1
            except AssertionError:  # not found, or told of another place
                continue
    share = found / count
    note = f"{count} tamperings of {len(kinds)} kinds with the place named, a checkpoint remembered; seed {seed}"
    return [
        Figure(
            bench="ledger",
            metric="tamper_found",
            ours=round(share, 4),
            unit="share",
            n=count,
            spread=(round(share, 4), round(share, 4)),
            note=note,
        )
    ]
