"""LiteLLM examples for the conformance kit: on any base URL that speaks its API, behind the fault proxy.

`LiteLLMJudge` writes and reads the gateway with its own client, by the endpoints' own shapes, and shares no code with
the adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import httpx
from pydantic import JsonValue, SecretStr
from tests.testbed.faultproxy import FaultProxy, fault_proxy
from tests.testbed.labs import MASTER_KEY, LabGateway

from watchkeeper.adapters.contract import Tested
from watchkeeper.adapters.kit import Case, Example, KitSink, Refused
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter, LiteLLMConfig
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Action, ActionKind, Intent, Target
from watchkeeper.core.clock import Clock, ManualClock
from watchkeeper.core.model import Scalar
from watchkeeper.ledger.evidence.redaction import Redactor

MakeAdapter = Callable[[LiteLLMConfig, CallRecorder, Clock], LiteLLMAdapter]
NAME = "litellm:kit"
NO_KEY = "0" * 64
SETTLE_S = 30.0
KEY_NAMES = ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget", "key_alias", "budget_duration")


class LiteLLMJudge:
    def __init__(self, client: httpx.AsyncClient, effects: Callable[[], int]) -> None:
        self._client, self._effects = client, effects

    async def fields(self, target: Target) -> Mapping[str, Scalar]:
        match target.kind:
            case "key":
                info = (await self.call("GET", f"/key/info?key={target.id}"))["info"]
                assert isinstance(info, dict)
                names = (
                    "rpm_limit",
                    "tpm_limit",
                    "max_parallel_requests",
                    "max_budget",
                    "key_alias",
                    "budget_duration",
                )
                return {**{name: _scalar(info[name]) for name in names}, "blocked": bool(info["blocked"])}
            case "team":
                info = (await self.call("GET", f"/team/info?team_id={target.id}"))["team_info"]
                assert isinstance(info, dict)
                return {name: _scalar(info[name]) for name in ("rpm_limit", "tpm_limit", "max_budget", "team_alias")}
            case "deployment":
                return {"weight": await self._weight(target.id)}
        reply = await self._client.get(f"/fallback/{target.id}")
        names_ = reply.json()["fallback_models"] if reply.status_code == 200 else []
        return {"fallbacks": ",".join(names_) or None}

    async def write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        body: dict[str, JsonValue] = dict(values)
        match target.kind:
            case "key":
                blocked = body.pop("blocked", None)
                if blocked is not None:
                    await self.call("POST", f"/key/{'block' if blocked else 'unblock'}", key=target.id)
                if body:
                    await self.call("POST", "/key/update", key=target.id, **body)
            case "team":
                await self.call("POST", "/team/update", team_id=target.id, **body)
            case "deployment":
                await self.call("PATCH", f"/model/{target.id}/update", litellm_params=body)
            case _ if body["fallbacks"] is None:
                await self.call("DELETE", f"/fallback/{target.id}")
            case _:
                names: list[JsonValue] = [*str(body["fallbacks"]).split(",")]
                await self.call("POST", "/fallback", model=target.id, fallback_models=names)

    async def effects(self) -> int:
        return self._effects()

    async def call(self, method: str, path: str, **body: JsonValue) -> dict[str, JsonValue]:
        reply = await self._client.request(method, path, json=body or None)
        assert reply.status_code == 200, f"{method} {path}: {reply.status_code} {reply.text}"
        answer: dict[str, JsonValue] = reply.json()
        return answer

    async def _weight(self, deployment: str) -> Scalar:
        listed = (await self.call("GET", "/model/info"))["data"]
        assert isinstance(listed, list)
        for row in listed:
            assert isinstance(row, dict)
            info, params = row["model_info"], row["litellm_params"]
            assert isinstance(info, dict)
            assert isinstance(params, dict)
            if info["id"] == deployment:
                return _scalar(params.get("weight"))
        raise AssertionError(f"no deployment {deployment}")


def _scalar(value: JsonValue) -> Scalar:
    assert not isinstance(value, dict | list)
    return value


def action(intent: Intent, kind: str, target: str, **parameters: Scalar) -> Action:
    return Action(
        step=0,
        intent=intent,
        kind=ActionKind.REVERSIBLE,
        target=Target(adapter=NAME, kind=kind, id=target),
        parameters=tuple(sorted(parameters.items())),
    )


@dataclass(frozen=True)
class Things:
    """What the cases act on: made fresh for each test, since a gateway may be shared."""

    key: str
    deployment: str
    group: str
    spare: str
    third: str
    team: str = ""


def case(intent: Intent, kind: str, target: str, disturbed: Mapping[str, Scalar], **wanted: Scalar) -> Case:
    nowhere = NO_KEY if kind == "key" else f"nowhere-{uuid4().hex}"
    return Case(
        action=action(intent, kind, target, **wanted),
        elsewhere=action(intent, kind, nowhere, **wanted),
        disturbed=disturbed,
    )


def cases(things: Things) -> dict[str, Case]:
    """One for each capability; teams where the gateway has them."""
    limits = {"rpm_limit": 777, "tpm_limit": 7777}
    found = [
        case(Intent.THROTTLE, "key", things.key, limits, rpm_limit=5, tpm_limit=1000, max_parallel_requests=2),
        case(Intent.SET_LIMIT, "key", things.key, limits, rpm_limit=50, tpm_limit=None),
        case(Intent.SET_BUDGET, "key", things.key, {"max_budget": 77.5}, max_budget=1.25),
        case(Intent.BLOCK, "key", things.key, {}, blocked=True),
        case(Intent.SHIFT_TRAFFIC, "deployment", things.deployment, {"weight": 7}, weight=0),
        case(Intent.SET_FALLBACK, "model_group", things.group, {"fallbacks": things.third}, fallbacks=things.spare),
    ]
    if things.team:
        found += [
            case(Intent.SET_LIMIT, "team", things.team, limits, rpm_limit=50, tpm_limit=None),
            case(Intent.SET_BUDGET, "team", things.team, {"max_budget": 77.5}, max_budget=1.25),
        ]
    return {one.name: one for one in found}


LAB_CASES = (
    "key-throttle",
    "key-set_limit",
    "key-set_budget",
    "key-block",
    "deployment-shift_traffic",
    "model_group-set_fallback",
)
ALL_CASES = (*LAB_CASES, "team-set_limit", "team-set_budget")


@asynccontextmanager
async def example(
    base_url: str,
    admin_key: str,
    prepare: Callable[[LiteLLMJudge], Awaitable[Things]],
    refused: tuple[Refused, ...],
    *,
    reply_s: float,
    effects: Callable[[], int] | None = None,
    make: MakeAdapter = LiteLLMAdapter,
) -> AsyncIterator[tuple[Example, dict[str, Case]]]:
    """`effects` counts the gateway's writes where it keeps a journal; otherwise the proxy counts what it passed on."""
    clock, sink = ManualClock(datetime.now(UTC)), KitSink()
    headers = {"authorization": f"Bearer {admin_key}"}
    async with (
        httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
        fault_proxy(base_url) as proxy,
    ):
        judge = LiteLLMJudge(client, effects or _passed_on(proxy))
        found = cases(await prepare(judge))
        config = LiteLLMConfig(
            name="kit", base_url=proxy.url, admin_key=SecretStr(admin_key), reply_s=reply_s, settle_s=SETTLE_S
        )
        adapter = make(config, CallRecorder(sink, Redactor([SecretStr(admin_key)]), clock), clock)
        try:
            yield (
                Example(
                    adapter=adapter,
                    clock=clock,
                    sink=sink,
                    judge=judge,
                    faults=proxy,
                    cases=tuple(found.values()),
                    refused=refused,
                    secret=admin_key,
                    settle_s=SETTLE_S,
                    against=Tested.REAL,
                ),
                found,
            )
        finally:
            await adapter.close()


def _passed_on(proxy: FaultProxy) -> Callable[[], int]:
    return lambda: proxy.forwarded_writes


LAB_REFUSED = (
    Refused(action(Intent.SHIFT_TRAFFIC, "deployment", "dep-yaml", weight=0), "model_in_yaml"),
    Refused(action(Intent.SHIFT_TRAFFIC, "deployment", "dep-c", weight=0), "weight_unset"),
    Refused(action(Intent.SET_FALLBACK, "model_group", "chat-main", fallbacks="nowhere"), "unknown_group"),
    Refused(action(Intent.SET_FALLBACK, "model_group", "chat-main", fallbacks="chat-main"), "own_fallback"),
    Refused(action(Intent.THROTTLE, "key", "sk-not-a-hash", rpm_limit=1), "not_a_key_hash"),
    Refused(action(Intent.THROTTLE, "key", "0" * 64, rpm_limit=-1), "bad_parameters"),
    Refused(action(Intent.THROTTLE, "key", "0" * 64), "bad_parameters"),
    Refused(action(Intent.RESTART, "key", "0" * 64), "not_capable"),
)


async def _lab_things(judge: LiteLLMJudge) -> Things:
    made = await judge.call("POST", "/key/generate", key_alias=uuid4().hex, rpm_limit=100, tpm_limit=5000)
    return Things(str(made["token"]), "dep-a", "chat-main", "chat-spare", "chat-yaml")


@asynccontextmanager
async def lab_example(
    lab: LabGateway, make: MakeAdapter = LiteLLMAdapter
) -> AsyncIterator[tuple[Example, dict[str, Case]]]:
    """The lab's journal counts the effects."""

    def effects() -> int:
        return len([entry for entry in lab.gateway.store.journal.entries() if entry.effect is not None])

    async with example(lab.url, MASTER_KEY, _lab_things, LAB_REFUSED, reply_s=2.0, effects=effects, make=make) as (
        made,
        found,
    ):
        yield made, found
