"""From decisions weighed twice to the report: which differ, how, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from watchkeeper.core.decisions import Decision, DecisionRecord, Gate, Verdict
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.gates.answers import WIDTH
from watchkeeper.policies.whatif.aftermath import Aftermath
from watchkeeper.policies.whatif.fold import Weighed
from watchkeeper.policies.whatif.report import (
    MAX_LISTED,
    Became,
    Change,
    DecisionDiffers,
    Objection,
    OutcomeCount,
    Row,
    Said,
    StateCount,
    Used,
    WhatIf,
)


def change_of(recorded: Decision, candidate: Decision) -> Change:
    """What a document is called makes no difference, and neither does what a gate that lets pass has looked at."""
    if WIDTH[candidate.verdict] != WIDTH[recorded.verdict]:
        return Change.WIDER if WIDTH[candidate.verdict] > WIDTH[recorded.verdict] else Change.NARROWER
    return Change.SAME if _terms(recorded) == _terms(candidate) else Change.TERMS


def _terms(decision: Decision) -> tuple[object, ...]:
    why = {(each.gate, each.reason, each.step) for each in decision.blocking}
    asked = {each.model_copy(update={"node": ""}) for each in decision.approvals}
    return why, asked, decision.remedy_ttl_s


class Tally:
    """Counts every decision, and lists the first that differ."""

    def __init__(self, aftermath: Aftermath) -> None:
        self._aftermath = aftermath
        self._rows: dict[tuple[str, str, str], Counter[Change]] = {}
        self._state: dict[Gate, Counter[Used]] = {}
        self._blocked: Counter[Became] = Counter()
        self._rolled_back: Counter[Became] = Counter()
        self._let_through = 0
        self._listed: list[DecisionDiffers] = []

    def add(self, weighed: Weighed) -> None:
        given = weighed.record.input
        change = change_of(weighed.record.decision, weighed.candidate)
        name = (given.scope.environment, given.scope.service, given.runbook)
        self._rows.setdefault(name, Counter())[change] += 1
        for each in weighed.state:
            self._state.setdefault(each.gate, Counter())[each.used] += 1
        if change is not Change.SAME:
            self._differs(weighed, change)

    def _differs(self, weighed: Weighed, change: Change) -> None:
        record, became = weighed.record, self._became(weighed, change)
        rolled_back = self._aftermath.rolled_back(record)
        if change is Change.NARROWER and self._aftermath.executed(record):
            self._blocked[became] += 1
            self._rolled_back[became] += rolled_back
        self._let_through += became is Became.UNOBSERVED and weighed.candidate.verdict is Verdict.ALLOW
        if len(self._listed) < MAX_LISTED:
            self._listed.append(_listed(weighed, change, became, rolled_back, self._aftermath.resolution(record)))

    def _became(self, weighed: Weighed, change: Change) -> Became:
        known = self._aftermath.became(weighed.record)
        return Became.UNOBSERVED if change is Change.WIDER and known is Became.NOT_EXECUTED else known

    def report(
        self, policy: Policy, begins: datetime | None, since: datetime | None, until: datetime | None, unreadable: int
    ) -> WhatIf:
        total = sum(self._rows.values(), Counter[Change]())
        differing = total[Change.NARROWER] + total[Change.WIDER] + total[Change.TERMS]
        return WhatIf(
            policy=policy.version,
            begins=begins,
            since=since,
            until=until,
            weighed=total.total(),
            same=total[Change.SAME],
            narrower=total[Change.NARROWER],
            wider=total[Change.WIDER],
            terms=total[Change.TERMS],
            unreadable=unreadable,
            blocked=tuple(
                OutcomeCount(became=each, count=self._blocked[each], rolled_back=self._rolled_back[each])
                for each in Became
                if self._blocked[each]
            ),
            let_through=self._let_through,
            rows=tuple(_row(name, counted) for name, counted in sorted(self._rows.items())),
            state=tuple(_state(gate, self._state[gate]) for gate in Gate if gate in self._state),
            differing=tuple(self._listed),
            unlisted=differing - len(self._listed),
        )


def tally(weighed: Iterable[Weighed], aftermath: Aftermath, wanted: Callable[[DecisionRecord], bool]) -> Tally:
    """Of the decisions that are wanted; all of them were weighed, since one bears on another."""
    made = Tally(aftermath)
    for each in weighed:
        if wanted(each.record):
            made.add(each)
    return made


def _listed(
    weighed: Weighed, change: Change, became: Became, rolled_back: bool, resolution: str | None
) -> DecisionDiffers:
    record = weighed.record
    given = record.input
    return DecisionDiffers(
        decision=record.id,
        incident=given.incident,
        plan=given.plan,
        at=given.at,
        environment=given.scope.environment,
        service=given.scope.service,
        agent=given.agent,
        runbook=given.runbook,
        intents=tuple(dict.fromkeys(request.intent for request in given.requests)),
        change=change,
        recorded=_said(record.decision),
        candidate=_said(weighed.candidate),
        became=became,
        rolled_back=rolled_back,
        resolution=resolution,
        state=weighed.state,
    )


def _said(decision: Decision) -> Said:
    return Said(
        verdict=decision.verdict,
        objections=tuple(
            Objection(gate=each.gate, reason=each.reason, node=each.node, step=each.step) for each in decision.blocking
        ),
        approvals=decision.approvals,
        remedy_ttl_s=decision.remedy_ttl_s,
    )


def _row(name: tuple[str, str, str], counted: Counter[Change]) -> Row:
    environment, service, runbook = name
    return Row(
        environment=environment,
        service=service,
        runbook=runbook,
        same=counted[Change.SAME],
        narrower=counted[Change.NARROWER],
        wider=counted[Change.WIDER],
        terms=counted[Change.TERMS],
    )


def _state(gate: Gate, counted: Counter[Used]) -> StateCount:
    return StateCount(
        gate=gate,
        recorded=counted[Used.RECORDED],
        refolded=counted[Used.REFOLDED],
        incomplete=counted[Used.INCOMPLETE],
    )
