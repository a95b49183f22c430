"""The facts a runbook is resolved with: baselines from the signals, inventory from the gateway's adapter.

Reads only. A gateway that does not answer gives no facts, and a runbook that needs them is then not applicable.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog
from pydantic import Field

from watchkeeper.adapters.contract import Registry
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter
from watchkeeper.adapters.litellm.inventory import Inventory
from watchkeeper.agents.detector.baseline import Line, learn
from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.core.actions import Target
from watchkeeper.core.clock import Clock
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.errors import AdapterError
from watchkeeper.core.model import Contract
from watchkeeper.core.sli import Comparison, Measure, Sli, SliStatus
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.runbooks.facts import BaselineFact, DeploymentFact, GroupFact, KeyFact, ResolveFacts
from watchkeeper.signals.state import SignalState

log = structlog.get_logger(__name__)

LINE = Line(ratio=3.0, deviations=6.0, floor=0.0)
"""What is left out of a baseline of calls or tokens: the same line that makes a cost finding."""
HEALTHY_BELOW = 0.2


class GatewayFacts(Contract):
    """What the configuration says of one gateway: its adapter's name and the declared stand-ins of each group."""

    adapter: str
    fallbacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class World:
    def __init__(
        self,
        signals: SignalState,
        adapters: Registry,
        gateways: tuple[GatewayFacts, ...],
        detectors: DetectorConfig,
        clock: Clock,
    ) -> None:
        self._signals, self._adapters, self._gateways = signals, adapters, gateways
        self._cost, self._outage, self._clock = detectors.token_cost, detectors.provider_outage, clock

    async def facts(self, keys: tuple[str, ...]) -> tuple[ResolveFacts, ...]:
        """One set of facts a managed gateway, with these keys of it: those that the trouble leads to. Raises
        AdapterError when the gateway does not answer."""
        return tuple([await self._of(gateway, keys) for gateway in self._gateways])

    def targets(self, diagnosis: Diagnosis) -> tuple[ResolveFacts, ...]:
        """Where the causes are targets of the infrastructure: their own adapters, those that there are."""
        named = (Target.of(each.subject.id) for each in diagnosis.causes if each.subject.kind is SubjectKind.TARGET)
        adapters = dict.fromkeys(each.adapter for each in named if each is not None)
        return tuple(ResolveFacts(adapter=each) for each in adapters if each in self._adapters.names())

    async def _of(self, gateway: GatewayFacts, keys: tuple[str, ...]) -> ResolveFacts:
        adapter = self._adapters.get(gateway.adapter)
        inventory = await adapter.inventory() if isinstance(adapter, LiteLLMAdapter) else None
        if inventory is None:
            return ResolveFacts(adapter=gateway.adapter)
        return ResolveFacts(
            adapter=gateway.adapter,
            baselines=tuple(fact for key in keys for fact in self.baselines(Subject(kind=SubjectKind.KEY, id=key))),
            keys=tuple([await self._key(gateway.adapter, key) for key in keys]),
            deployments=self._deployments(inventory),
            groups=tuple(
                GroupFact(name=group, candidates=gateway.fallbacks.get(group, ())) for group in inventory.groups
            ),
        )

    async def drained(self, deployments: Collection[Subject]) -> frozenset[Subject]:
        """Of these, those that their gateway blocks, or gives no weight beside others that have some. A gateway that
        does not answer says nothing."""
        found: set[Subject] = set()
        for gateway in self._gateways:
            adapter = self._adapters.get(gateway.adapter)
            if not isinstance(adapter, LiteLLMAdapter):
                continue
            try:
                inventory = await adapter.inventory()
            except AdapterError as error:
                log.warning("inventory_not_read", gateway=gateway.adapter, what=error.what)
                continue
            serving = {each.group for each in inventory.deployments if each.weight and not each.blocked}
            idle = {
                each.id
                for each in inventory.deployments
                if each.blocked or (each.weight == 0 and each.group in serving)
            }
            found |= {each for each in deployments if each.id in idle}
        return frozenset(found)

    def baselines(self, subject: Subject) -> list[BaselineFact]:
        """Calls, tokens and cost a minute of a subject's clean steps; none below the minimum history."""
        steps = self._signals.steps(subject)
        remedied = self._signals.remedied(subject)
        marks = [any(since <= step.start < until for since, until in remedied) for step in steps]
        per_minute = 60.0 / self._signals.config.step_s
        rates = {
            Measure.CALLS_PER_MIN: [step.calls * per_minute for step in steps],
            Measure.TOKENS_PER_MIN: [step.tokens * per_minute for step in steps],
            Measure.COST_USD_PER_MIN: [step.cost_usd * per_minute for step in steps],
        }
        found = []
        for measure, values in rates.items():
            learnt = learn(zip(values, marks, strict=True), LINE, self._cost.min_history, self._cost.baseline_steps)
            if learnt.known >= self._cost.min_history and learnt.median > 0:
                found.append(BaselineFact(subject=subject, measure=measure, expected=learnt.median))
        return found

    async def _key(self, adapter: str, key: str) -> KeyFact:
        state = await self._adapters.get(adapter).inspect(Target(adapter=adapter, kind="key", id=key))
        spend = state.value("spend")
        return KeyFact(id=key, spend_usd=float(spend) if isinstance(spend, int | float) else None)

    def _deployments(self, inventory: Inventory) -> tuple[DeploymentFact, ...]:
        return tuple(
            DeploymentFact(
                id=deployment.id,
                group=deployment.group,
                weight=float(deployment.weight) if isinstance(deployment.weight, int | float) else None,
                healthy=not deployment.blocked and self._healthy(deployment.id),
                manageable=deployment.manageable,
            )
            for deployment in inventory.deployments
        )

    def _healthy(self, deployment: str) -> bool:
        """No provider faults worth the name of late; one without traffic is taken to be well, and verified after."""
        sli = Sli(
            measure=Measure.PROVIDER_ERROR_RATIO,
            subject=Subject(kind=SubjectKind.DEPLOYMENT, id=deployment),
            op=Comparison.AT_MOST,
            threshold=HEALTHY_BELOW,
            window_s=self._outage.window_s,
            min_events=1,
        )
        return self._signals.read(sli, self._clock.now()).status is not SliStatus.BREACHED
