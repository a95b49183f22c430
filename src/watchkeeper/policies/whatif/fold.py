"""Walks a log in order and asks a candidate policy what it would have said to each decision.

What policy says changes what is done, and what is done changes what policy is asked next: rates, cool-downs, what runs,
what stands in the way. So two histories are folded, of what was and of what would have been, and a decision is asked
with the recorded state moved by the difference of the two. Where there is none the recorded state stands as it is, so
the policy that was in force changes nothing. What would be asked of a person counts as not done where it was done
without asking; what is newly allowed counts as done at once. What would have been earned is not known: of trust the
recorded is used.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from watchkeeper.core.claims import Claim
from watchkeeper.core.decisions import ActionRequest, Decision, DecisionInput, DecisionRecord, Gate, RateCount, Verdict
from watchkeeper.core.entries import EntryType, RemedyRecorded
from watchkeeper.core.ids import DecisionId, PlanId, RemedyId
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.conditions.when import with_offsets
from watchkeeper.policies.decide import decide
from watchkeeper.policies.whatif.aftermath import Aftermath
from watchkeeper.policies.whatif.history import History, scoped
from watchkeeper.policies.whatif.report import GateState, Used

STATEFUL = (
    Gate.STANDING,
    Gate.CONFLICT,
    Gate.ERROR_BUDGET,
    Gate.RATE,
    Gate.COOLDOWN,
    Gate.CONCURRENCY,
    Gate.TRUST,
)
KINDS = (
    EntryType.PLAN,
    EntryType.DECISION,
    EntryType.CLAIM,
    EntryType.EFFECT,
    EntryType.REMEDY,
    EntryType.OUTCOME,
    EntryType.INCIDENT_CLOSED,
)
"""What is read of a log."""


class Weighed(NamedTuple):
    """A recorded decision, the candidate's beside it, and the state that the stateful gates were asked with."""

    record: DecisionRecord
    candidate: Decision
    state: tuple[GateState, ...]


class Fold:
    """`whole`: the log begins with the installation's first entry, so nothing was done before it; otherwise it begins
    at `begins`."""

    def __init__(
        self, policy: Policy, since: datetime | None, until: datetime | None, begins: datetime, *, whole: bool
    ) -> None:
        self._policy, self._since, self._until = policy, since, until
        self._begins, self._whole = begins, whole
        self._was, self._would = History(), History()
        self._plans: dict[PlanId, Plan] = {}
        self._latest: dict[PlanId, DecisionId] = {}
        self._blocked: set[DecisionId] = set()
        self._holders: dict[RemedyId, PlanId] = {}
        self.aftermath = Aftermath()
        self.weighed: list[Weighed] = []

    def add(self, data: Contract) -> None:
        """The data of one entry of `KINDS`, in the order of the log."""
        self.aftermath.add(data)
        match data:
            case Plan():
                self._plans[data.id] = data
            case DecisionRecord():
                self._decided(data)
            case Claim():
                self._claimed(data)
            case EffectOutcome():
                for history in (self._was, self._would):
                    history.settled(data)
            case RemedyRecorded():
                self._holders[data.remedy.id] = data.remedy.plan
                self._was.held(data.remedy)
                if not self._never_done(data.remedy.plan):
                    self._would.held(data.remedy)

    def _claimed(self, claim: Claim) -> None:
        plan = self._plans.get(claim.plan)
        if plan is None:
            return
        self._was.claimed(claim, plan)
        if claim.decision not in self._blocked:
            self._would.claimed(claim, plan)

    def _never_done(self, plan: PlanId) -> bool:
        """Whether the candidate would not have let the plan be carried out."""
        return self._latest.get(plan) in self._blocked

    def _decided(self, record: DecisionRecord) -> None:
        given = record.input
        self._latest[given.plan] = record.id
        if (self._since is not None and given.at < self._since) or (
            self._until is not None and given.at >= self._until
        ):
            return
        asked, used = self._asked(given)
        candidate = decide(self._policy, asked)
        recorded = record.decision.verdict
        if candidate.verdict is Verdict.ALLOW:
            if recorded is not Verdict.ALLOW:
                self._suppose(given, candidate)
        elif candidate.verdict is not Verdict.REQUIRE_APPROVAL or recorded is Verdict.ALLOW:
            self._blocked.add(record.id)
        self.weighed.append(Weighed(record, candidate, _state(candidate, used)))

    def _suppose(self, given: DecisionInput, candidate: Decision) -> None:
        plan = self._plans.get(given.plan)
        bounds = (candidate.remedy_ttl_s, None if plan is None else plan.remedy_ttl_s)
        self._would.suppose(given, plan, min((each for each in bounds if each is not None), default=None))

    def _asked(self, given: DecisionInput) -> tuple[DecisionInput, dict[Gate, Used]]:
        """The input as it would have been."""
        used = dict.fromkeys(STATEFUL, Used.RECORDED)
        requests = tuple([self._request(given, request, used) for request in given.requests])
        fleet = self._moved(given.running_fleet, lambda history: history.running(given.plan, given.at))
        conflicts = self._conflicts(given)
        _note(used, Gate.CONCURRENCY, fleet != given.running_fleet)
        _note(used, Gate.CONFLICT, conflicts != given.conflicts)
        changed = {
            "requests": requests,
            "rates": self._rates(given, used),
            "running_fleet": fleet,
            "conflicts": conflicts,
            "offsets": with_offsets(given.offsets, self._policy.zones, given.at),
        }
        _note(used, Gate.ERROR_BUDGET, not self._read(given), known=False)
        _note(used, Gate.GRANT, given.phase is None and self._policy.asks_phase, known=False)
        _note(used, Gate.STANDING, given.standing is None and self._policy.asks_promotion, known=False)
        return given.model_copy(update=changed), used

    def _read(self, given: DecisionInput) -> bool:
        """Whether the decision was asked with every error budget that the candidate asks for."""
        read = {(each.objective, burn.window_s) for each in given.budgets for burn in each.burns}
        known = {each.objective for each in given.budgets}
        asked = self._policy.objectives
        return known >= asked.keys() and all((name, window) in read for name in asked for window in asked[name])

    def _rates(self, given: DecisionInput, used: dict[Gate, Used]) -> tuple[RateCount, ...]:
        recorded = {rate.window_s: rate.count for rate in given.rates}
        by = scoped(given.runbook, given.scope.environment, given.scope.service)
        rates = []
        for window_s in self._policy.rate_windows:
            was, would = (history.rate(by, window_s, given.at) for history in (self._was, self._would))
            if window_s in recorded:
                count = max(0, recorded[window_s] + would - was)
                _note(used, Gate.RATE, would != was)
            else:
                count = would
                _note(used, Gate.RATE, True, self._reaches(given.at - timedelta(seconds=window_s)))
            rates.append(RateCount(window_s=window_s, count=count))
        return tuple(rates)

    def _request(self, given: DecisionInput, request: ActionRequest, used: dict[Gate, Used]) -> ActionRequest:
        target = str(request.target)
        was, would = self._was.last(target), self._would.last(target)
        since = request.seconds_since_last
        if was != would:
            since = None if would is None else max(0.0, (given.at - would).total_seconds())
            _note(used, Gate.COOLDOWN, True, would is not None or self._whole)
        running = self._moved(request.running_on_target, lambda history: history.running(given.plan, given.at, target))
        _note(used, Gate.CONCURRENCY, running != request.running_on_target)
        return request.model_copy(update={"seconds_since_last": since, "running_on_target": running})

    def _conflicts(self, given: DecisionInput) -> tuple[RemedyId, ...]:
        """Without those of plans that would not have been carried out, and with those of plans that only would."""
        plan = self._plans.get(given.plan)
        kept = [each for each in given.conflicts if not self._never_done_remedy(each)]
        supposed = [RemedyId(f"unobserved:{each}") for each in self._would.in_the_way(plan, given.at)]
        return (*kept, *supposed)

    def _never_done_remedy(self, remedy: RemedyId) -> bool:
        plan = self._holders.get(remedy)
        return plan is not None and self._never_done(plan)

    def _moved(self, recorded: int, count: Callable[[History], int]) -> int:
        return max(0, recorded + count(self._would) - count(self._was))

    def _reaches(self, instant: datetime) -> bool:
        return self._whole or self._begins <= instant


def _note(used: dict[Gate, Used], gate: Gate, moved: bool, known: bool = True) -> None:
    """The weakest word stands: one window that is not known makes the gate's state incomplete."""
    if moved and not known:
        used[gate] = Used.INCOMPLETE
    elif moved and used[gate] is Used.RECORDED:
        used[gate] = Used.REFOLDED


def _state(candidate: Decision, used: dict[Gate, Used]) -> tuple[GateState, ...]:
    """Of the gates that had something to ask, and of those whose state is another than the recorded one."""
    spoke = {each.gate for each in candidate.walk if not each.passed or each.observed is not None}
    return tuple(
        GateState(gate=gate, used=how) for gate, how in used.items() if gate in spoke or how is not Used.RECORDED
    )
