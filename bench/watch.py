"""`python -m bench.watch`: how long from a fault to its remedy in the gateway, and what the daemon costs while idle.

A run starts when the fault is switched on and ends when the gateway has taken the effect. Of the time in between, the
part until the detector's condition was first met belongs to the fault and the settings, the rest to us; both are told.
It does not measure a person's answer: the benchmark's policy lets both runbooks act alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from tests.testbed import worlds
from tests.testbed.litellm.proxy import BATCH_WRITE_S
from tests.testbed.rig import BUCKET_S, FAST, MAX_REPEATS, MIN_CALLS, POLL_S, Daemon, Sight, address, daemon
from tests.testbed.worlds import World

from bench.report import Figure, write

POLICIES = Path(__file__).parent / "policies"
PACE: Sight = {"horizons_s": [2], "hold_s": 0, "release_steps": [1], "watch_s": 1, "min_events": 1}
"""The waits after the effect, cut to seconds: they are not in what is measured."""
DEFAULTS: Sight = {
    "policy": {"dir": str(POLICIES)},
    "runbooks": {
        "overrides": {
            "throttle-runaway-caller": {**PACE, "window_s": 6},
            "fail-over-provider": {**PACE, "window_s": 15},
        }
    },
}
QUICK: Sight = {**DEFAULTS, **FAST}

WARM_UP_S = 20.0
"""The throttle needs six steps of two seconds as a baseline."""
EFFECT_WITHIN_S = 60.0
QUIET_WITHIN_S = 90.0
LOOK_S = 0.1
IDLE_WARM_UP_S = 10.0
IDLE_PART_S = 5.0
PARTS = ("push", "poll", "idle")


@dataclass(frozen=True)
class Options:
    gateway: str
    runs: int
    idle_s: float
    batch_write_s: float
    seed: int
    only: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """Seconds since the fault was switched on; `met` is None where the spend log could not tell."""

    effect: float
    met: float | None


@dataclass(frozen=True)
class Trouble:
    """A fault that can be switched on and off, its effect, and when its condition was met."""

    switch: Callable[[bool], None]
    effect: Callable[[datetime], datetime | None]
    met: Callable[[datetime], datetime | None]


def loop_of(world: World) -> Trouble:
    """The n-th identical tool call of one run has just ended when its n-th model call starts."""

    def met(since: datetime) -> datetime | None:
        by_run: dict[str, list[datetime]] = {}
        for row in world.rows(since):
            by_run.setdefault(row["session_id"], []).append(worlds.started(row))
        longest = sorted(sorted(by_run.values(), key=len)[-1]) if by_run else []
        return longest[MAX_REPEATS - 1] if len(longest) >= MAX_REPEATS else None

    return Trouble(world.loop, world.throttled, met)


def outage_of(world: World) -> Trouble:
    """The first failed call that is the last needed: enough of them, and in a second bucket."""

    def met(since: datetime) -> datetime | None:
        failed = sorted(worlds.ended(row) for row in world.rows(since) if row["status"] == "failure")
        buckets = [int(at.timestamp() // BUCKET_S) for at in failed]
        enough = (at for n, at in enumerate(failed) if n + 1 >= MIN_CALLS and buckets[n] > buckets[0])
        return next(enough, None)

    return Trouble(world.break_provider, world.drained, met)


def runs_of(trouble: Trouble, watching: Daemon, options: Options, what: str) -> list[Run]:
    """One fault after another, each at a random point of the poll interval and from quiet."""
    rng = random.Random(options.seed)
    found: list[Run] = []
    for number in range(1, options.runs + 1):
        time.sleep(rng.uniform(0, POLL_S))
        run = _one(trouble)
        if run is None:
            print(f"{what} run {number}: no effect within {EFFECT_WITHIN_S:g} s", file=sys.stderr)
        else:
            found.append(run)
        if not quiet(watching, QUIET_WITHIN_S):
            print(f"{what} run {number}: not quiet after {QUIET_WITHIN_S:g} s; stopped here", file=sys.stderr)
            break
    return found


def quiet(watching: Daemon, timeout_s: float) -> bool:
    """Waits until no incident is open and nothing of ours is in force."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if not watching.api.get("/v1/incidents") and not watching.api.get("/v1/remedies"):
            return True
        time.sleep(0.2)
    return False


def _one(trouble: Trouble) -> Run | None:
    since = datetime.now(UTC)
    trouble.switch(True)
    try:
        effect = _wait(lambda: trouble.effect(since))
    finally:
        trouble.switch(False)
    if effect is None:
        return None
    met = _wait(lambda: trouble.met(since), within_s=15)
    return Run((effect - since).total_seconds(), None if met is None else (met - since).total_seconds())


def _wait(look: Callable[[], datetime | None], within_s: float = EFFECT_WITHIN_S) -> datetime | None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(LOOK_S)
    return None


@contextmanager
def scene(options: Options, *, otlp: bool) -> Iterator[tuple[World, Daemon]]:
    """A world under traffic and a daemon that has watched it long enough to know what is normal."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as name:
        directory = Path(name)
        at = address(directory)
        sent_to = at if otlp else None
        opened = (
            worlds.lab(directory, sent_to, seed=options.seed, batch_write_s=options.batch_write_s)
            if options.gateway == "lab"
            else worlds.real(directory, sent_to, seed=options.seed)
        )
        with opened as world, daemon(at, world.watched, QUICK) as watching:
            time.sleep(WARM_UP_S)
            yield world, watching


def push(options: Options) -> list[Figure]:
    with scene(options, otlp=True) as (world, watching):
        runs = runs_of(loop_of(world), watching, options, "push")
        note = (
            f"{options.gateway}: from the switch that makes an agent loop, seen by OTLP spans, to the throttle of its "
            f"key, by {world.judge}. Condition: {MAX_REPEATS} identical tool calls of one run, by the gateway's spend "
            f"log {_parts(runs)}. Spans are sent every 0.5 s; {_sight()}."
        )
    return _figure("push_to_effect_p50", runs, note)


def poll(options: Options) -> list[Figure]:
    with scene(options, otlp=False) as (world, watching):
        runs = runs_of(outage_of(world), watching, options, "poll")
        note = (
            f"{options.gateway}: from the switch that makes a provider answer 500, seen only by polling the gateway's "
            f"spend log every {POLL_S:g} s, to its deployment at weight 0, by {world.judge}. proxy_batch_write_at "
            f"{_batch(options):g} s. Condition: {MIN_CALLS} failed calls in two buckets, {_parts(runs)}; {_sight()}."
        )
    return _figure("poll_to_effect_p50", runs, note)


def _batch(options: Options) -> float:
    return options.batch_write_s if options.gateway == "lab" else float(BATCH_WRITE_S)


def _sight() -> str:
    return "buckets of 1 s, detection every 0.5 s, SQLite, policy bounded (no person asked)"


def _parts(runs: Sequence[Run]) -> str:
    known = [(run.met, run.effect - run.met) for run in runs if run.met is not None]
    if not known:
        return "not seen in the spend log in time"
    met, after = (statistics.median(part) for part in zip(*known, strict=True))
    return f"first met {met:.2f} s after the switch, effect {after:.2f} s after that (medians of {len(known)})"


def _figure(metric: str, runs: Sequence[Run], note: str) -> list[Figure]:
    return [Figure.median("watch", metric, "s", [run.effect for run in runs], note)] if runs else []


@dataclass(frozen=True)
class Idle:
    """RSS in MB at the end of each part, and the share of one core in each part and over all."""

    rss: list[float]
    cpu: list[float]
    overall: float


def idle(options: Options) -> list[Figure]:
    """Two daemons side by side on one quiet lab: the benchmark's settings, and the defaults."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as name:
        directory = Path(name)
        fast, plain = address(directory / "fast"), address(directory / "plain")
        with (
            worlds.lab(directory, None, seed=options.seed, batch_write_s=options.batch_write_s, pace=0) as world,
            daemon(fast, world.watched, QUICK) as one,
            daemon(plain, world.watched, DEFAULTS) as other,
        ):
            time.sleep(IDLE_WARM_UP_S)
            ours, defaults = _sample((one, other), options.idle_s)
    where = f"{options.idle_s:g} s without traffic, one gateway polled every {POLL_S:g} s, SQLite"
    cpu = Figure(
        bench="watch",
        metric="idle_cpu",
        ours=round(ours.overall, 4),
        unit="share",
        n=len(ours.cpu),
        spread=(round(min(ours.cpu), 4), round(max(ours.cpu), 4)),
        note=f"{where}, detection every 0.5 s; with default settings (every 2 s) {defaults.overall:.4f}.",
    )
    with_defaults = f"with default settings {max(defaults.rss):.1f} MB"
    rss = Figure.median("watch", "idle_rss", "MB", ours.rss, f"{where}, of the one process; {with_defaults}.")
    return [rss, cpu]


def _sample(daemons: Sequence[Daemon], seconds: float) -> list[Idle]:
    parts = max(1, round(seconds / IDLE_PART_S))
    marks = [(time.monotonic(), [_cpu_s(each) for each in daemons])]
    rss: list[list[float]] = [[] for _ in daemons]
    for _ in range(parts):
        time.sleep(IDLE_PART_S)
        marks.append((time.monotonic(), [_cpu_s(each) for each in daemons]))
        for place, each in enumerate(daemons):
            rss[place].append(each.process.memory_info().rss / 1e6)
    found = []
    for place in range(len(daemons)):
        shares = [(b[1][place] - a[1][place]) / (b[0] - a[0]) for a, b in pairwise(marks)]
        overall = (marks[-1][1][place] - marks[0][1][place]) / (marks[-1][0] - marks[0][0])
        found.append(Idle(rss[place], shares, overall))
    return found


def _cpu_s(watching: Daemon) -> float:
    times = watching.process.cpu_times()
    return float(times.user + times.system)


def measure(options: Options) -> list[Figure]:
    """Idle by itself; on the lab push and poll side by side, each with a lab and a daemon of its own."""
    figures = idle(options) if "idle" in options.only else []
    wanted = [part for name, part in (("push", push), ("poll", poll)) if name in options.only]
    with ThreadPoolExecutor(len(wanted) if wanted and options.gateway == "lab" else 1) as pool:
        for found in pool.map(lambda part: part(options), wanted):
            figures += found
    return figures


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, bool]:
    parser = argparse.ArgumentParser(prog="python -m bench.watch", description=__doc__)
    parser.add_argument("--gateway", choices=("lab", "real"), default="lab")
    parser.add_argument("--runs", type=int, default=5, help="faults for each of push and poll")
    parser.add_argument("--idle", type=float, default=30.0, metavar="S", help="seconds of idling to measure")
    parser.add_argument("--batch-write-at", type=float, default=2.0, metavar="S", help="the lab's proxy_batch_write_at")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this; may be given again")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(arguments)
    only = tuple(given.only or PARTS)
    return Options(given.gateway, given.runs, given.idle, given.batch_write_at, given.seed, only), given.json


def main() -> int:
    options, as_json = parse()
    figures = measure(options)
    write(figures, sys.stdout, as_json=as_json)
    return 0 if figures else 1


if __name__ == "__main__":
    sys.exit(main())
