"""The planner asks a proposal's targets; those that would refuse say what a person has to move. In the lab."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr
from tests.testbed.findings import MODEL, PROVIDER, link, outage
from tests.testbed.labs import MASTER_KEY, LabGateway, open_gateway
from tests.testbed.traffic import at

from watchkeeper.adapters.contract import Registry
from watchkeeper.adapters.kit import KitSink
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter, LiteLLMConfig
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.agents.diagnoser.gateway import diagnose
from watchkeeper.agents.records import Proposed
from watchkeeper.agents.remediator.plan import Planner
from watchkeeper.agents.remediator.world import GatewayFacts, World
from watchkeeper.core.actions import Intent
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.ids import DiagnosisId, IncidentId
from watchkeeper.core.subjects import Scope, Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.lab.gateway.faults import AdminFault, FaultMode
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.runbooks.loader import load_catalog
from watchkeeper.signals.state import SignalState, StateConfig

NAME, INCIDENT = "litellm:lab", IncidentId("inc_1")
FAILING = Subject(kind=SubjectKind.DEPLOYMENT, id="dep-a")


@asynccontextmanager
async def planning(lab: LabGateway, *fallbacks: str) -> AsyncIterator[Planner]:
    clock = ManualClock(at(60))
    config = LiteLLMConfig(name="lab", base_url=lab.url, admin_key=SecretStr(MASTER_KEY))
    adapter = LiteLLMAdapter(config, CallRecorder(KitSink(), Redactor(), clock), clock)
    adapters = Registry((adapter,))
    gateway = GatewayFacts(adapter=NAME, fallbacks={"chat-main": fallbacks})
    signals = SignalState(StateConfig(), Topology())
    yield Planner(load_catalog(), World(signals, adapters, (gateway,), DetectorConfig(), clock), adapters)
    await adapters.close()


async def proposed(planner: Planner) -> Proposed:
    """What is proposed for an outage of dep-a."""
    found = outage(FAILING, edges=link(MODEL, FAILING, PROVIDER))
    signals = SignalState(StateConfig(), Topology())
    diagnosis = diagnose(INCIDENT, (found,), signals, at(60), DiagnosisId("dgn_1")).diagnosis
    return await planner.propose(INCIDENT, Scope(environment="lab", service="chat"), diagnosis, (found,), at(60))


def fix_in_yaml(lab: LabGateway, *names: str) -> None:
    models = lab.gateway.store.models
    models.update({name: models[name].model_copy(update={"db_model": False}) for name in names})


async def test_every_target_that_would_refuse_says_what_to_move(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, planning(lab) as planner:
        fix_in_yaml(lab, "dep-a", "dep-b")
        answer = await proposed(planner)
        assert answer.plan is None
        assert answer.refused == ("fail-over-provider: model_in_yaml",)
        assert [(each.target, each.reason) for each in answer.obstacles] == [
            (f"{NAME}/deployment/dep-b", "model_in_yaml"),
            (f"{NAME}/deployment/dep-a", "model_in_yaml"),
        ]
        assert all("POST /model/new" in each.fix for each in answer.obstacles)


async def test_one_target_that_would_refuse_is_enough_for_no_plan(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, planning(lab) as planner:
        fix_in_yaml(lab, "dep-b")
        answer = await proposed(planner)
        assert answer.plan is None
        assert [each.target for each in answer.obstacles] == [f"{NAME}/deployment/dep-b"]


async def test_a_declared_fallback_is_taken_before_a_target_that_would_refuse(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, planning(lab, "chat-spare") as planner:
        fix_in_yaml(lab, "dep-a")
        answer = await proposed(planner)
        assert answer.plan is not None
        assert [(each.intent, each.target.id) for each in answer.plan.actions] == [(Intent.SET_FALLBACK, "chat-main")]
        assert answer.obstacles == ()


async def test_deployments_that_their_gateway_sends_nothing_to_are_drained(tmp_path: Path) -> None:
    def deployment(name: str) -> Subject:
        return Subject(kind=SubjectKind.DEPLOYMENT, id=name)

    every = [deployment(name) for name in ("dep-a", "dep-b", "dep-c", "unheard-of")]
    async with open_gateway(tmp_path) as lab, planning(lab) as planner:
        models = lab.gateway.store.models
        assert await planner.world.drained(every) == {deployment("dep-b")}, "no weight beside a sibling that has some"
        models["dep-a"] = models["dep-a"].model_copy(update={"weight": 0})
        assert await planner.world.drained(every) == frozenset(), "without any weights the gateway sends everywhere"
        models["dep-c"] = models["dep-c"].model_copy(update={"blocked": True})
        assert await planner.world.drained(every) == {deployment("dep-c")}
        lab.gateway.switch.set(AdminFault(mode=FaultMode.BROKEN))
        assert await planner.world.drained(every) == frozenset(), "a gateway that does not answer says nothing"
