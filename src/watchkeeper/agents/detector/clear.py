"""When a finding is over. Missing data never clears one: something must have been heard since.

A deployment that nobody can reach any more does no harm, whatever ails it: one that its gateway no longer lists, though
it lists others of the same group, or one that its gateway sends nothing to, and to which no call has come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from watchkeeper.agents.detector import alerts, provider_outage, runaway_loop, token_cost
from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.core.findings import FailureMode, Finding
from watchkeeper.core.subjects import Edge, EdgeSource, Subject, SubjectKind
from watchkeeper.signals.state import SignalState

DEFAULT = DetectorConfig()


def resolved(
    finding: Finding,
    state: SignalState,
    now: datetime,
    config: DetectorConfig = DEFAULT,
    drained: Collection[Subject] = (),
) -> bool:
    """Whether the trouble is known to be gone. `drained`: the deployments that their gateway says it sends nothing to,
    by somebody else's will than ours."""
    match finding.mode:
        case FailureMode.COST_SPIKE:
            return _cost_calm(finding, state, now, config)
        case FailureMode.RUNAWAY_LOOP:
            return _loop_ended(finding, state, now, config)
        case FailureMode.PROVIDER_OUTAGE:
            return _serves_again(finding, state, now, config) or _out_of_reach(finding, state, now, config, drained)
        case mode if mode.of_infrastructure:
            return not alerts.fires(state, config.alerts, finding.subject, mode)
        case _:
            return False


def all_resolved(
    findings: Iterable[Finding],
    state: SignalState,
    now: datetime,
    config: DetectorConfig = DEFAULT,
    drained: Collection[Subject] = (),
) -> bool:
    """Whether every finding is; False where there is none."""
    known = list(findings)
    return bool(known) and all(resolved(finding, state, now, config, drained) for finding in known)


def deployments(finding: Finding) -> tuple[Subject, ...]:
    """Those that the finding blames: its subject, or what an inventory said that its provider runs."""
    if finding.subject.kind is SubjectKind.DEPLOYMENT:
        return (finding.subject,)
    return tuple(edge.source for edge in _listed(finding.edges) if edge.target == finding.subject)


def _cost_calm(finding: Finding, state: SignalState, now: datetime, config: DetectorConfig) -> bool:
    window_s = state.config.step_s * config.token_cost.needed
    if not _heard(state, now, window_s):
        return False
    rate = token_cost.measure(state, finding.subject, config.token_cost, now)
    if rate is None:
        return True
    expected = finding.observations[0].expected  # a baseline that is lost by now, or the ceiling
    clear = expected * config.token_cost.clear_ratio if rate.clear is None else rate.clear
    return not rate.over and rate.latest <= clear


def _loop_ended(finding: Finding, state: SignalState, now: datetime, config: DetectorConfig) -> bool:
    if not _heard(state, now, config.runaway_loop.silent_s):
        return False
    names = {(part.subject.kind, part.subject.id) for part in finding.attribution}
    keys = {id_ for kind, id_ in names if kind is SubjectKind.KEY}
    agents = {id_ for kind, id_ in names if kind is SubjectKind.AGENT}
    for agent, key in runaway_loop.looping(state, config.runaway_loop, now):
        if (agent in agents or not agents) and (key in keys or not keys):
            return False
    return True


def _serves_again(finding: Finding, state: SignalState, now: datetime, config: DetectorConfig) -> bool:
    terms = config.provider_outage
    seen = provider_outage.health(state, finding.subject, terms, now)
    return seen.ratio is not None and seen.reported >= terms.min_calls and seen.ratio <= terms.sibling_ratio


def _out_of_reach(
    finding: Finding, state: SignalState, now: datetime, config: DetectorConfig, drained: Collection[Subject]
) -> bool:
    blamed = deployments(finding)
    return bool(blamed) and all(
        _removed(each, finding, state) or (each in drained and _untouched(each, state, now, config)) for each in blamed
    )


def _removed(deployment: Subject, finding: Finding, state: SignalState) -> bool:
    """It was in an inventory when it was found, and is not now; that the group still is shows that we would know."""
    groups = {edge.source for edge in _listed(finding.edges) if edge.target == deployment}
    now_in = {group: {edge.target for edge in _listed(state.around(group)) if edge.source == group} for group in groups}
    return bool(groups) and all(others and deployment not in others for others in now_in.values())


def _untouched(deployment: Subject, state: SignalState, now: datetime, config: DetectorConfig) -> bool:
    terms = config.provider_outage
    return _heard(state, now, terms.window_s) and not provider_outage.health(state, deployment, terms, now).calls


def _listed(edges: Iterable[Edge]) -> list[Edge]:
    return [edge for edge in edges if edge.known_from is EdgeSource.INVENTORY]


def _heard(state: SignalState, now: datetime, within_s: float) -> bool:
    return state.heard is not None and now - state.heard <= timedelta(seconds=within_s)
