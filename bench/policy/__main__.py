"""Decisions per policy size, ours and Cedar's, in one run: `python -m bench.policy [--json] [--short]`.

A decision is `weigh`: matching, every gate, and the reasons with the documents that gave them. No decision is kept, and
no request comes twice in a run; the compiled policy keeps which documents meet for which words, as it does in the
daemon, and starts empty in every run. Cedar gets a parsed PolicySet and requests that are ready to be sent; its answer
names the policies that decided. Both must say the same about every request that both are asked.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from cedarpy import PolicySet

from bench.policy.fleet import requests, rules
from bench.policy.sides import ask_cedar, cedar_request, cedars, ours
from bench.report import Figure, write
from watchkeeper.core.decisions import DecisionInput, Verdict
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.decide import decide, weigh
from watchkeeper.policies.load import PolicySet as Documents

SIZES = (10, 100, 1_000, 10_000)
REQUESTS = 10_000
RUNS = 5
CEDAR_S = 6.0
"""How long Cedar is asked in all runs together, of as many of the same requests as that is enough for."""

Asked = TypeVar("Asked")


@dataclass(frozen=True)
class Times:
    """One number a run: microseconds, and seconds to compile."""

    compiled: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    rivals: list[float] = field(default_factory=list)


def timed(ask: Callable[[Asked], object], many: Sequence[Asked], most_s: float = float("inf")) -> list[float]:
    """Microseconds of each call, for as long as there is time."""
    clock, times, began = time.perf_counter_ns, [], time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for each in many:
            start = clock()
            ask(each)
            times.append((clock() - start) / 1000)
            if time.perf_counter() - began > most_s:
                break
    finally:
        gc.enable()
    return times


def measure(size: int, count: int, runs: int, seed: int) -> list[Figure]:
    some, given = rules(size, seed), list(requests(count, size, seed))
    documents, policies = ours(some), cedars(some)
    agreed = _agreed(compile_policy(documents), policies, given)
    times = Times()
    for _ in range(runs):
        _run(times, documents, policies, given, CEDAR_S / runs)
    words = {(each.scope, each.runbook, each.requests[0].target.labels) for each in given}
    note = (
        f"{size} documents, {count} distinct requests in {len(words)} distinct sets of words, each asked once a run; "
        f"the same verdict as Cedar's on {agreed} requests"
    )
    return _figures(size, times, note)


def _run(
    times: Times, documents: Documents, policies: PolicySet, given: Sequence[DecisionInput], cedar_s: float
) -> None:
    start = time.perf_counter()
    policy = compile_policy(documents)
    times.compiled.append(time.perf_counter() - start)
    each = timed(partial(weigh, policy), given)
    times.medians.append(statistics.median(each))
    times.p99s.append(statistics.quantiles(each, n=100)[98])
    times.whole.append(statistics.median(timed(partial(decide, policy), given[:2000])))
    asked = [cedar_request(one) for one in given]
    times.rivals.append(statistics.median(timed(partial(ask_cedar, policies), asked, cedar_s)))


def _figures(size: int, times: Times, note: str) -> list[Figure]:
    ours_us, cedar_us = statistics.median(times.medians), statistics.median(times.rivals)
    figures = [
        Figure.median("policy", f"decide_p50_{size}", "us", times.medians, note).model_copy(
            update={"rivals": {"cedarpy": round(cedar_us, 2)}}
        ),
        Figure.median(
            "policy", f"decide_p99_{size}", "us", times.p99s, "with the first time that a set of documents is met"
        ),
        Figure.median("policy", f"record_p50_{size}", "us", times.whole, "with the input's digest, as a contract"),
        Figure(
            bench="policy",
            metric=f"cedar_over_ours_{size}",
            ours=round(cedar_us / ours_us, 2),
            unit="ratio",
            rivals={"cedarpy": 1.0},
            n=len(times.medians),
            spread=(
                round(min(times.rivals) / max(times.medians), 2),
                round(max(times.rivals) / min(times.medians), 2),
            ),
            note="how many times as long Cedar takes; the range is that of the worst and the best pair of runs",
        ),
    ]
    if size == max(SIZES):
        figures.append(Figure.median("policy", f"compile_{size}", "s", times.compiled, "of documents that are read"))
    return figures


def _agreed(policy: Policy, policies: PolicySet, given: Sequence[DecisionInput]) -> int:
    """On how many requests both sides were asked, and said the same: a time of other answers is no time."""
    began, agreed = time.perf_counter(), 0
    for each in given:
        allowed = weigh(policy, each).verdict is Verdict.ALLOW
        assert ask_cedar(policies, cedar_request(each)).allowed == allowed, each
        agreed += 1
        if time.perf_counter() - began > CEDAR_S:
            break
    return agreed


def main(arguments: Sequence[str]) -> None:
    figures: list[Figure] = []
    for size in SIZES:
        print(f"{size} documents", file=sys.stderr)
        figures += measure(size, REQUESTS, 3 if "--short" in arguments else RUNS, seed=1)
    write(figures, sys.stdout, as_json="--json" in arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
