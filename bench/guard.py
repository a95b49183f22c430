"""`python -m bench.guard`: the guard in the real LiteLLM proxy: what its hook costs, and how soon a pause is felt.

`hook_p99` is the time inside the hook, measured there, of calls that need no counting: histories of up to 20 kB, one
after the other, under hundreds of rules of every kind. Without a goal: `hook_cpu_p99`, the processor's time in it;
`hook_p99_busy`, the same with eight calls at a time, which is more than the proxy can serve here, so that its threads
wait for each other; `hook_counted_p99`, of the few calls that come near a limit and are counted.

`pause_to_refused_p99` goes from the daemon's word (here the testbed's rule server) to the first refusal in a caller's
hands; the caller asks again and again, so its last good answer is in the time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "guard/src"))  # it is installed in gateways, not here

from tests.testbed import litellm
from tests.testbed.guarded import WINDOW, Guarded, guarded_proxy
from tests.testbed.guardrules import rule
from tests.testbed.guardserver import RuleJson

from bench.report import Figure, write

AGENTS, HOLDS = 20, 300
RULES = HOLDS + AGENTS + 5
AT_ONCE = 8
CALLS, SHORT_CALLS = 3000, 1000
COUNTED = 200
PAUSES, SHORT_PAUSES = 300, 100
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "tells", "what", "it", "saw")


def rules(window: int) -> list[RuleJson]:
    """What a team may have: standing limits for all, some for one agent each, and what is held at the moment."""
    standing = [
        rule("context", max_input_tokens=window, on_doubt="closed"),
        rule("iterations", max_calls=1_000_000),
        rule("loop", max_repeats=60, max_cycle=8, max_cycle_repeats=8),
        rule("budget", id="tokens", per="run", max_tokens=1 << 36),
        rule("budget", id="money", per="run", max_usd="1000", mode="audit"),
    ]
    for number in range(AGENTS):
        standing.append(rule("iterations", id=f"of-{number}", match={"agent": f"agent-{number}"}, max_calls=1 << 30))
    held = [rule("hold", id=f"held-{n}", match={"agent": f"held-{n}"}, state="paused") for n in range(HOLDS)]
    return [*standing, *held]


def history(rng: random.Random) -> list[dict[str, Any]]:
    """A conversation with tool calls, from one message to some 20 kB."""
    found: list[dict[str, Any]] = []
    for number in range(rng.randint(1, 20)):
        text = " ".join(rng.choices(WORDS, k=rng.randint(5, 120)))
        asked = {"name": "look", "arguments": f'{{"q": "{text[:60]}"}}'}
        call = {"id": f"c{number}", "type": "function", "function": asked}
        found.append({"role": "assistant", "content": None, "tool_calls": [call]})
        found.append({"role": "tool", "tool_call_id": f"c{number}", "content": text})
    return [{"role": "user", "content": "find it"}, *found]


def calls(guarded: Guarded, count: int, seed: int, at_once: int) -> None:
    rng = random.Random(seed)
    made = [(history(rng), f"run-{rng.randrange(40)}", f"agent-{rng.randrange(AGENTS)}") for _ in range(count)]

    def call(given: tuple[list[dict[str, Any]], str, str]) -> None:
        messages, run, agent = given
        answer = guarded.ask(run=run, agent=agent, messages=messages, max_tokens=50)
        assert answer.status_code == 200, answer.text

    with ThreadPoolExecutor(at_once) as callers:
        list(callers.map(call, made))


def hook(guarded: Guarded, count: int) -> list[Figure]:
    guarded.wait_for(guarded.server.publish(*rules(1_000_000)))
    calls(guarded, count, seed=1, at_once=1)
    guarded.wait_for(guarded.server.publish(*rules(WINDOW)))
    near = " ".join(random.Random(2).choices(WORDS, k=WINDOW // 2))
    for number in range(COUNTED):
        assert guarded.ask(f"{near} {number}", run="near", max_tokens=50).status_code == 200
    time.sleep(2.0)  # a worker writes its figures once a second
    (worker,) = guarded.workers()
    what = f"{RULES} rules, one call at a time, one worker"
    counted = f"prompts of {len(near) // 1000} kB near a limit, counted beside the event loop; its wait is in the time"
    return [
        _quantiles("hook_p99", worker["hook_ms"], what),
        _quantiles("hook_cpu_p99", worker["hook_cpu_ms"], what),
        _quantiles("hook_counted_p99", worker["hook_counted_ms"], counted),
    ]


def busy(guarded: Guarded, count: int) -> Figure:
    guarded.wait_for(guarded.server.publish(*rules(1_000_000)))
    calls(guarded, count, seed=3, at_once=AT_ONCE)
    time.sleep(2.0)
    (worker,) = guarded.workers()
    return _quantiles("hook_p99_busy", worker["hook_ms"], f"{RULES} rules, {AT_ONCE} calls at a time, one worker")


def _quantiles(metric: str, found: dict[str, float], note: str) -> Figure:
    return Figure(
        bench="guard",
        metric=metric,
        ours=round(found["p99"], 3),
        unit="ms",
        n=int(found["count"]),
        spread=(round(found["least"], 3), round(found["most"], 3)),
        note=f"median {found['p50']:.3f} ms; {note}",
    )


def pauses(guarded: Guarded, count: int) -> Figure:
    standing, took = rules(1_000_000), list[float]()
    held = rule("hold", id="pause", match={"agent": "paused"}, state="paused")
    for _ in range(count):
        began = time.monotonic()
        guarded.server.publish(*standing, held)
        while guarded.ask(agent="paused").status_code == 200:
            continue
        took.append((time.monotonic() - began) * 1000)
        assert guarded.ask(agent="other").status_code == 200
        guarded.server.publish(*standing)
        while guarded.ask(agent="paused").status_code != 200:
            continue
    cuts = statistics.quantiles(took, n=100)
    return Figure(
        bench="guard",
        metric="pause_to_refused_p99",
        ours=round(cuts[98], 1),
        unit="ms",
        n=len(took),
        spread=(round(min(took), 1), round(max(took), 1)),
        note=f"median {cuts[49]:.1f} ms; one caller, one worker, {RULES + 1} rules sent whole each time",
    )


@contextmanager
def _proxy() -> Iterator[Guarded]:
    with (
        tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as directory,
        guarded_proxy(litellm.build(), Path(directory)) as guarded,
    ):
        yield guarded


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS, help="whose hook is timed; the last 4096 count")
    parser.add_argument("--pauses", type=int, default=PAUSES)
    parser.add_argument("--short", action="store_true", help=f"{SHORT_CALLS} calls, {SHORT_PAUSES} pauses")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    missing = litellm.missing_tools()
    if missing is not None:
        print(f"bench.guard measures nothing: this machine lacks {missing}", file=sys.stderr)
        return 0
    count = SHORT_CALLS if given.short else given.calls
    with _proxy() as guarded:
        found = hook(guarded, count)
        found.append(pauses(guarded, SHORT_PAUSES if given.short else max(100, given.pauses)))
    with _proxy() as guarded:
        found.append(busy(guarded, count))
    write(found, sys.stdout, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
