"""A world under watch: a daemon beside it under a policy of the test, an operator, and what the daemon says it did.

What happened in the world is for the world to say (`worlds`); this is the daemon's own account, read from its API.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tests.testbed import rig
from tests.testbed.polling import eventually
from tests.testbed.rig import Address, Sight
from tests.testbed.worlds import Watchable, World
from watchkeeper.cli.client import Client

W = TypeVar("W", bound=Watchable)
Breakable = TypeVar("Breakable", bound=World)
Reply = dict[str, Any]


@dataclass(frozen=True)
class Scene(Generic[W]):
    """`api` speaks as the administrator, `operator` as a person who may approve."""

    world: W
    api: Client
    operator: Client

    def incidents(self) -> list[Reply]:
        """All of them, closed ones included."""
        found: list[Reply] = self.api.get("/v1/incidents", closed=True)
        return found

    def incident(self, mode: str, *statuses: str) -> Reply | None:
        """The incident of a failure mode, once it has one of these statuses (any, if none is given)."""
        found = [each for each in self.incidents() if each["mode"] == mode]
        return found[0] if found and (not statuses or found[0]["status"] in statuses) else None

    def story(self, incident: str) -> list[Reply]:
        """The incident's ledger entries, with the evidence."""
        found: list[Reply] = self.api.get(f"/v1/incidents/{incident}/story")
        return found

    def asked(self, timeout_s: float) -> Reply:
        """The one approval that a person is asked for; where none is, what the daemon did instead is told."""
        try:
            (waiting,) = eventually(lambda: self.operator.get("/v1/approvals"), timeout_s=timeout_s)
        except AssertionError as error:
            for each in self.incidents():
                steps = [step["type"].removeprefix("dev.watchkeeper.") for step in self.story(each["id"])]
                error.add_note(f"{each['mode']} {each['status']}: {', '.join(steps)}")
            error.add_note(f"health: {self.api.get('/v1/status')['health']}")
            raise
        found: Reply = waiting
        return found

    def told(self, incident: str, kind: str) -> list[Reply]:
        """The data of its entries of one kind (`outcome.v1`), once there is one: an entry waits for its index."""
        return eventually(lambda: self._said(incident, kind), timeout_s=20)

    def recovered(self, incident: str) -> bool:
        """Whether its last reading says so."""
        readings = self._said(incident, "outcome.v1")
        return bool(readings) and readings[-1]["recovery"] == "recovered"

    def _said(self, incident: str, kind: str) -> list[Reply]:
        return [step["data"] for step in self.story(incident) if step["type"] == f"dev.watchkeeper.{kind}"]

    def ledger_holds(self) -> bool:
        return bool(self.api.post("/v1/ledger/verify", {})["ok"])


def outage_is_handled(on: Scene[Breakable]) -> Reply:
    """The lab's provider breaks, its traffic is moved, it is repaired. The incident, closed as recovered."""
    eventually(lambda: on.api.get("/v1/status")["health"]["sources"].get("gateway") == "ok", timeout_s=20)
    on.world.break_provider(True)
    (held, *_) = eventually(lambda: on.api.get("/v1/remedies"), timeout_s=60)
    eventually(lambda: on.recovered(held["incident"]), timeout_s=60)
    on.world.break_provider(False)
    ended = eventually(lambda: on.incident("provider_outage", "closed"), timeout_s=90)
    assert ended["resolution"] == "recovered"
    assert on.ledger_holds()
    return ended


@contextmanager
def scene(at: Address, world: W, policy: str, sight: Sight) -> Iterator[Scene[W]]:
    """`sight` goes over `rig.FAST`."""
    folder = at.directory / "policies"
    folder.mkdir()
    (folder / "policy.yaml").write_text(policy)
    settings: Sight = {**rig.FAST, "policy": {"dir": str(folder)}, **sight}
    with rig.daemon(at, world.watched, settings) as daemon:
        made = daemon.api.post("/v1/tokens", {"principal": "olga", "roles": ["operator", "approver"]})
        with closing(Client(at.url, made["token"])) as operator:
            yield Scene(world, daemon.api, operator)
