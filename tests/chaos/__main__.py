"""`python -m tests.chaos --suite watch|authority|ledger|tamper --runs N --seed S [--database sqlite|postgresql]`.

Seeded crashes (watch, authority, ledger) and tamperings (tamper) at random points. Writes
chaos-<suite>[-<database>].json: commit, seeds, counts, failures. A second call with the same arguments goes on where
the first one ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.chaos.authority.suite import AuthoritySuite
from tests.chaos.ledger_suite import DATABASES, LedgerSuite
from tests.chaos.suite import Campaign, Suite
from tests.chaos.tamper_suite import TamperSuite
from tests.chaos.watch_suite import WatchSuite

EVERY = {"tamper": 250}
OF_DATABASES: dict[str, Callable[[str], Suite]] = {"authority": AuthoritySuite, "ledger": LedgerSuite}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--suite", choices=["watch", "authority", "ledger", "tamper"], default="watch")
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--database", choices=DATABASES, action="append", help="authority, ledger: one of them; both if not given"
    )
    options = parser.parse_args()
    failed = 0
    for name, suite in suites(options.suite, options.database or list(DATABASES)):
        campaign = Campaign(
            name, options.seed, options.runs, Path(f"chaos-{name}.json"), write_every=EVERY.get(options.suite, 1)
        )
        done = campaign.finish(suite)
        failures = sum(bool(each["failure"]) for each in done)
        print(f"{name}: {len(done)} runs, {failures} failed; {campaign.report}")
        failed += failures
    return int(failed > 0)


def suites(name: str, databases: list[str]) -> list[tuple[str, Suite]]:
    if name in OF_DATABASES:
        return [(f"{name}-{database}", OF_DATABASES[name](database)) for database in databases]
    return [(name, WatchSuite() if name == "watch" else TamperSuite())]


if __name__ == "__main__":
    sys.exit(main())
