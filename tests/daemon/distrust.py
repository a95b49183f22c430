"""A daemon in this process over a gateway whose first provider can fail, and ways to take from it what it trusts.

What the gateway was made to do is read from its own journal. The daemon acts alone here (policy pack `demo`): whatever
does not happen while it is blind is held back by distrust alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from tests.testbed.labs import MASTER_KEY, LabGateway, open_gateway
from tests.testbed.receiver import Receiver

from watchkeeper.core.clock import SystemClock
from watchkeeper.core.entries import EntryType, WatchGap
from watchkeeper.daemon.life import Daemon, running
from watchkeeper.daemon.settings import Settings
from watchkeeper.lab.gateway.rows import key_hash
from watchkeeper.lab.provider import ProviderMode
from watchkeeper.ledger.checks.verify import verify

WAIT_S = 60.0
POLL_S = 0.1


class SteppedClock(SystemClock):
    """The system's clock, set wrong by `off` seconds."""

    def __init__(self) -> None:
        self.off = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.off)


@dataclass
class Patient:
    daemon: Daemon
    clock: SteppedClock
    lab: LabGateway
    key: str
    receiver: Receiver
    api: httpx.AsyncClient
    sent: int = 0

    @property
    def parts(self) -> Any:
        return self.daemon._parts

    @property
    def acting(self) -> bool:
        acting: bool = self.parts.health.acting
        return acting

    def effects(self) -> list[str]:
        """What the gateway did for us."""
        entries = self.lab.gateway.store.journal.entries()
        return [each.path for each in entries if each.changed_by.startswith("watchkeeper:") and each.effect is not None]

    def told(self, kind: str) -> list[dict[str, Any]]:
        notices = [json.loads(each.body) for each in self.receiver.deliveries]
        return [notice for notice in notices if notice["kind"] == kind]

    async def send_alert(self) -> httpx.Response:
        """Each is another one."""
        self.sent += 1
        body = {
            "version": "4",
            "groupKey": "{}",
            "status": "firing",
            "receiver": "watchkeeper",
            "alerts": [
                {
                    "status": "firing",
                    "labels": {"alertname": f"Sent{self.sent}", "service": "chat"},
                    "annotations": {},
                    "startsAt": datetime.now(UTC).isoformat(),
                    "endsAt": "0001-01-01T00:00:00Z",
                    "fingerprint": f"{self.sent:016x}",
                }
            ],
        }
        return await self.api.post("/v1/alerts/alertmanager", json=body)

    async def until(self, ready: Callable[[], bool], what: str) -> None:
        end = asyncio.get_running_loop().time() + WAIT_S
        while not ready():
            assert asyncio.get_running_loop().time() < end, f"no {what}: {self._so_far()}"
            await asyncio.sleep(POLL_S)

    def _so_far(self) -> tuple[object, ...]:
        notices = [json.loads(each.body) for each in self.receiver.deliveries]
        return self.parts.health.why, self.effects(), [(each["kind"], each.get("reason")) for each in notices]

    async def blind_rounds(self, count: int) -> None:
        """Waits until detection went on blind for so many rounds."""
        sentry: Any = self.daemon._sentry
        one_round, done = sentry.blind_round, 0

        async def counted(now: datetime) -> None:
            nonlocal done
            await one_round(now)
            done += 1

        sentry.blind_round = counted
        await self.until(lambda: done >= count, "blind rounds")
        sentry.blind_round = one_round

    async def gaps(self) -> list[WatchGap]:
        found = await self.parts.log.find(types=(EntryType.GAP,), limit=1000)
        return [WatchGap.model_validate(each.envelope.data) for each in found]

    async def ledger_holds(self) -> bool:
        while await self.parts.sequencer.run_once():
            continue
        return (await verify(self.parts.log, self.parts.signer.verifier.vkey)).ok


@asynccontextmanager
async def patient(directory: Path, receiver: Receiver, **changed: Any) -> AsyncIterator[Patient]:
    async with open_gateway(directory / "lab") as lab:
        key = await lab.key("caller")
        clock = SteppedClock()
        settings = Settings.model_validate({**_settings(directory, lab, key, receiver), **changed})
        async with running(settings, clock) as (daemon, url):
            headers = {"Authorization": f"Bearer {(directory / 'data' / 'local.token').read_text().strip()}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20, trust_env=False) as api:
                yield Patient(daemon, clock, lab, key, receiver, api)


@asynccontextmanager
async def outage(one: Patient) -> AsyncIterator[None]:
    """The first provider fails, and callers go on calling, as long as the block lasts."""
    one.lab.break_provider(0, ProviderMode.BROKEN)
    calling = asyncio.create_task(_calls(one))
    try:
        yield
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)


async def _calls(one: Patient) -> None:
    while True:
        await asyncio.gather(*(one.lab.chat(one.key) for _ in range(4)))
        one.lab.gateway.spend.flush()
        await asyncio.sleep(0.4)


def _settings(directory: Path, lab: LabGateway, key: str, receiver: Receiver) -> dict[str, Any]:
    pace = {"window_s": 2, "horizons_s": [2, 3], "hold_s": 0.5, "watch_s": 1, "min_events": 1, "release_steps": [1]}
    return {
        "data_dir": directory / "data",
        "environment": "demo",
        "api": {"port": 0},
        "services": [
            {"name": "chat", "environment": "demo", "keys": [key_hash(key)], "models": ["chat-main", "chat-spare"]}
        ],
        "gateways": [{"name": "lab", "base_url": lab.url, "admin_key": MASTER_KEY, "poll_s": 0.3}],
        "policy": {"pack": "demo"},
        "notify": [{"name": "pager", "url": f"{receiver.url}/page"}],
        "state": {"bucket_s": 1, "step_s": 1, "lateness_s": 5, "horizon_s": 60, "history_s": 300},
        "detect_every_s": 0.25,
        "detectors": {"provider_outage": {"window_s": 4, "min_calls": 6}},
        "runbooks": {"overrides": {"fail-over-provider": pace}},
        "timing": {"recheck_s": 0.4, "claim_s": 5, "grace_s": 0.5, "reconcile_s": 0.5},
    }
