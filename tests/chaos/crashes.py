"""An incident with crashes in it, and the judgement on it: the gateway's own journal, the ledger, and the replay.

A route is how the incident goes: `recovers` (acts alone, provider comes back), `rejected` (asks, a person says no),
`approved` (asks, a person says yes), `undone` (the other provider fails too, so the way back is taken).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.testbed.grants import grant, policy
from tests.testbed.watch import Nursery, Watch, open_watch

BEFORE = {"dep-a": 1.0, "dep-b": 0.0}
ASK = policy(
    grant(
        "fail-over-provider",
        ["shift_traffic"],
        ["deployment"],
        environment="demo",
        approvers=["approver", "operator", "admin"],
        ttl="1h",
    )
)
ENDS = {
    "recovers": {"recovered"},
    "approved": {"recovered"},
    "rejected": {"rejected_by_person"},
    "undone": {"not_recovered", "guard_breached", "inconclusive", "relapsed_under_remedy"},
}
EFFECTS = {"recovers": 4, "approved": 4, "rejected": 0, "undone": 4}
SPENT = ("gone_before_triage", "moot")
"""An incident after the one that was closed: late reports of the same outage. Nothing may be done for it."""


@dataclass
class Crashed:
    """What is left when the incident has ended."""

    kills: int
    effects: dict[str, int] = field(default_factory=dict)
    resolution: str = ""


@contextmanager
def opened(nursery: Nursery, directory: Path, route: str, seed: int = 1) -> Iterator[Watch]:
    changed: dict[str, Any] = {}
    if route in ("approved", "rejected"):
        policies = directory / "policies"
        policies.mkdir(parents=True)
        (policies / "ask.yaml").write_text(ASK)
        changed["policy"] = {"dir": str(policies)}
    with open_watch(nursery, directory, seed=seed, **changed) as watch:
        yield watch


def crash(watch: Watch, route: str, kills: tuple[str, ...], mode: str = "500") -> Crashed:
    """Runs one outage to its end with the daemon killed at each of `kills`, one after another."""
    watch.provider("provider-a", mode)
    for kill in kills:
        watch.start(kill)
        watch.until(lambda: moved(watch, route) and not watch.running, what=f"kill at {kill}")
    watch.start()
    watch.until(lambda: moved(watch, route) and ended(watch, route), what="end of the incident")
    return judge(watch, route, len(kills))


def moved(watch: Watch, route: str) -> bool:
    """The world's part of the route, done when its time has come; always True."""
    done = watch.effects()
    failed_over = any(entry.path.startswith("/model/dep-a") for entry in done)
    if route in ("recovers", "approved") and failed_over:
        watch.provider("provider-a", "ok")
    if route == "undone" and done:
        back = len(done) >= EFFECTS[route]
        for name in ("provider-a", "provider-b"):
            watch.provider(name, "ok" if back else "500")
    if route in ("approved", "rejected"):
        with suppress(httpx.TransportError):  # it may be killed in the middle of the answer
            _answer(watch, route)
    return True


def _answer(watch: Watch, answer: str) -> None:
    for waiting in watch.get("/v1/approvals"):
        watch.post(f"/v1/approvals/{waiting['id']}", {"answer": answer})
    escalated = any(each["status"] == "escalated" for each in watch.incidents())
    if answer == "rejected" and escalated:
        watch.provider("provider-a", "ok")


def ended(watch: Watch, route: str = "recovers") -> bool:
    """An undone fail-over stays with a person: the stand-in that failed too has no traffic that would clear it."""
    found = watch.incidents()
    ends = ("closed", "escalated") if route == "undone" else ("closed",)
    return bool(found) and all(each["status"] in ends for each in found)


def judge(watch: Watch, route: str, kills: int) -> Crashed:
    """Exactly one effect per key in the gateway's own journal, the target as before, the ledger whole."""
    first, *later = reversed(watch.incidents())
    escalated = route == "undone" and first["status"] == "escalated"
    assert escalated or first["resolution"] in ENDS[route], f"{first}{watch.tale()}"
    assert {each["resolution"] for each in later} <= set(SPENT), f"{later}{watch.tale()}"
    counts = watch.counts()
    assert set(counts.values()) <= {1}, f"an effect was done twice: {counts}"
    assert len(counts) == EFFECTS[route], counts
    assert {name: watch.weights()[name] for name in BEFORE} == BEFORE
    watch.until(lambda: settled(watch) == dict.fromkeys(counts, "succeeded"), what="settled effects in the log")
    verified = watch.post("/v1/ledger/verify", {})
    assert verified["ok"], verified
    replayed = watch.post("/v1/ledger/replay")
    assert replayed["matched"] >= 1, replayed
    assert not replayed["differed"], replayed
    return Crashed(kills, effects=dict(counts), resolution=first["resolution"])


def settled(watch: Watch) -> dict[str, str]:
    """Action key → the last outcome that the ledger has of it."""
    effects = [each["envelope"]["data"] for each in watch.entries() if each["envelope"]["type"].endswith("effect.v1")]
    return {data["key"]: data["effect"] for data in effects}
