"""The detectors on seeded traffic in simulated time: silent when all is well, quick and right when it is not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.testbed.findings import again
from tests.testbed.traffic import Caller, Traffic, at, call, span, subject

from watchkeeper.agents.detector.basis import MAX_SNAPSHOT
from watchkeeper.agents.detector.clear import all_resolved, resolved
from watchkeeper.agents.detector.config import DetectorConfig, TokenCostConfig
from watchkeeper.agents.detector.correlate import Held, OpenIncident, correlate
from watchkeeper.agents.detector.drafting import Detected
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.core.digest import sha256
from watchkeeper.core.findings import FailureMode, Finding, Severity, Sign
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.signals import ErrorClass, SpanOp
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.signals.state import SignalState, StateConfig

CONFIG = StateConfig(bucket_s=2, step_s=10, lateness_s=30, horizon_s=300, history_s=3600)
DETECTORS = Detectors(DetectorConfig(token_cost=TokenCostConfig(min_history=8)))
Fail = Callable[[str, random.Random], ErrorClass | None]


class Watch:
    """A state fed second by second, and what the detectors said of it every other second."""

    def __init__(self, seed: int, callers: list[Caller] | None = None, config: StateConfig = CONFIG) -> None:
        self.traffic = Traffic(seed, callers or fleet())
        self.state = SignalState(config, self.traffic.topology())
        self.found: list[Detected] = []

    def go(self, seconds: int) -> list[Detected]:
        """What was found in that time."""
        before = len(self.found)
        for now, signals in self.traffic.run(seconds):
            for signal in signals:
                self.state.apply(signal, now)
            if self.traffic.second % 2 == 0:
                self.found += DETECTORS.evaluate(self.state, now)
        return self.found[before:]

    def first(self, seconds: int) -> tuple[int, Finding]:
        """How long the first finding took, and what it is."""
        for passed in range(2, seconds + 1, 2):
            found = self.go(2)
            if found:
                return passed, found[0].finding
        raise AssertionError("nothing was found")


def fleet() -> list[Caller]:
    return [
        Caller("support", runs_per_s=1.5, turns=1, seasonal=0.5),
        Caller("research", runs_per_s=0.5, turns=3, seasonal=0.3),
        Caller("batch", runs_per_s=0.8, turns=1),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_healthy_traffic_with_its_seasons_gives_no_finding(seed: int) -> None:
    assert Watch(seed).go(900) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_cost_spike_is_found_within_a_few_steps_and_blamed_on_its_key(seed: int) -> None:
    watch = Watch(seed)
    watch.go(200)
    caller = watch.traffic.caller("support")
    caller.cost, caller.runs_per_s = caller.cost * 6, caller.runs_per_s * 2
    took, finding = watch.first(60)
    assert took <= 4 * CONFIG.step_s
    assert (finding.mode, str(finding.subject)) == (FailureMode.COST_SPIKE, "key:key-support")
    assert finding.scope.service == "svc-support"
    assert at(190) <= finding.onset <= at(212)
    shares = {str(part.subject): part.share for part in finding.attribution}
    assert shares["key:key-support"] == 1.0
    assert shares["model:chat"] > 0.8
    assert shares["service:svc-support"] > 0.8
    assert shares["agent:support"] > 0.8
    assert {each.finding.fingerprint for each in watch.go(60)} == {finding.fingerprint}


def test_a_spike_whose_latest_costs_are_not_told_yet_is_traced_by_the_steps_in_which_it_spikes() -> None:
    watch = Watch(0)
    for second in range(232):
        for name, cost in (("key-busy", 0.05), ("key-small", 0.1 if second >= 200 else 0.01)):
            told = call(f"{name}-{second}", at(second), key=name, cost=cost if second < 220 else None)
            watch.state.apply(told, at(second))
    config = TokenCostConfig(min_history=8, needed=2)
    (found,) = Detectors(DetectorConfig(token_cost=config)).evaluate(watch.state, at(232))
    shares = {str(part.subject): part.share for part in found.finding.attribution}
    assert shares == {"key:key-small": 1.0, "model:chat": pytest.approx(1.0)}


@pytest.mark.parametrize("seed", range(6))
def test_a_runaway_loop_is_found_within_seconds_and_blamed_on_agent_and_key(seed: int) -> None:
    watch = Watch(seed)
    watch.go(100)
    watch.traffic.caller("research").looping = True
    took, finding = watch.first(20)
    assert took <= 6
    assert (finding.mode, str(finding.subject)) == (FailureMode.RUNAWAY_LOOP, "agent:research")
    assert [str(part.subject) for part in finding.attribution] == [
        "agent:research", "key:key-research", "service:svc-research",
    ]  # fmt: skip
    assert finding.observations[0].sign is Sign.REPEATED_TOOL_CALL
    assert any(str(e.source) == "agent:research" and str(e.target) == "key:key-research" for e in finding.edges)
    loops = [each.finding for each in watch.go(60) if each.finding.mode is FailureMode.RUNAWAY_LOOP]
    assert {loop.fingerprint for loop in loops} == {finding.fingerprint}
    assert loops[-1].severity is Severity.CRITICAL


def broken(*deployments: str, share: float = 1.0, error: ErrorClass = ErrorClass.SERVER) -> Fail:
    return lambda deployment, rng: error if deployment in deployments and rng.random() < share else None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("error", "sign"),
    [
        (ErrorClass.SERVER, Sign.HTTP_5XX),
        (ErrorClass.RATE_LIMITED, Sign.HTTP_429),
        (ErrorClass.TIMEOUT, Sign.TIMEOUTS),
    ],
)
def test_an_outage_is_found_within_a_few_buckets_and_blamed_on_the_deployment(
    seed: int, error: ErrorClass, sign: Sign
) -> None:
    watch = Watch(seed)
    watch.go(60)
    watch.traffic.fail = broken("dep-1", share=0.9, error=error)
    took, finding = watch.first(30)
    assert took <= 4 * CONFIG.bucket_s
    assert (finding.mode, str(finding.subject)) == (FailureMode.PROVIDER_OUTAGE, "deployment:dep-1")
    assert [each.sign for each in finding.observations] == [sign]
    assert at(56) <= finding.onset <= at(64)
    watch.traffic.fail = broken()
    watch.go(30)
    assert resolved(finding, watch.state, watch.traffic.now, DETECTORS.config)


def test_a_healthy_sibling_leaves_the_blame_with_the_deployment_and_a_sick_one_moves_it_to_the_provider() -> None:
    for sick, blamed in ((("dep-1",), "deployment:dep-1"), (("dep-1", "dep-2"), "provider:openai")):
        watch = Watch(3)
        watch.traffic.weights = {"dep-1": 1.0, "dep-2": 1.0}
        watch.go(60)
        watch.traffic.fail = broken(*sick)
        _, finding = watch.first(30)
        assert str(finding.subject) == blamed
        last = {str(again(each).subject) for each in watch.go(20)[-1:]}
        assert last == {blamed}
    causes = [str(part.subject) for part in finding.attribution]
    assert sorted(causes[1:]) == ["deployment:dep-1", "deployment:dep-2"]


@pytest.mark.parametrize("seed", range(4))
def test_invariant_12_no_chasing_of_its_own_tail(seed: int) -> None:
    """After a throttle: no provider finding, nothing of another subject, and everything joins the incident."""
    watch = Watch(seed)
    watch.go(200)
    caller = watch.traffic.caller("research")
    caller.looping = True
    _, finding = watch.first(20)
    key = subject(SubjectKind.KEY, "key-research")
    since = watch.traffic.now
    caller.limit_per_s = 0
    watch.state.under_remedy(key, since, None)
    incident = OpenIncident(
        id=IncidentId("inc_1"), opened=since, findings=(finding,), held=(Held(subject=key, since=since),)
    )
    for detected in watch.go(300):
        assert detected.finding.mode is not FailureMode.PROVIDER_OUTAGE
        assert correlate(detected.finding, [incident]) == "inc_1"
    caller.looping, caller.limit_per_s = False, None
    watch.state.under_remedy(key, since, watch.traffic.now)
    watch.go(80)
    assert all_resolved([finding], watch.state, watch.traffic.now, DETECTORS.config)
    assert watch.go(200) == []


def test_invariant_12_steps_under_a_remedy_do_not_teach_the_baseline() -> None:
    """A key throttled to nothing for a long time is not a spike when it gets its limits back."""
    for marked in (True, False):
        watch = Watch(1, [Caller("support", runs_per_s=3, turns=1, cost=0.02)])
        watch.go(200)
        caller = watch.traffic.caller("support")
        watch.go(200)
        since = watch.traffic.now
        caller.cost = 0.001
        watch.go(1000)
        if marked:
            watch.state.under_remedy(subject(SubjectKind.KEY, caller.key), since, watch.traffic.now)
        caller.cost = 0.02
        assert bool(watch.go(100)) is not marked


def test_a_lasting_excess_never_becomes_normal_while_the_history_reaches_back() -> None:
    watch = Watch(2)
    watch.go(200)
    watch.traffic.caller("batch").cost *= 8
    watch.go(500)
    finding = watch.found[-1].finding
    assert finding.detected == watch.traffic.now
    assert str(finding.subject) == "key:key-batch"
    assert not resolved(finding, watch.state, watch.traffic.now, DETECTORS.config)
    watch.traffic.caller("batch").cost /= 8
    watch.go(60)
    assert resolved(finding, watch.state, watch.traffic.now, DETECTORS.config)


def test_without_history_nothing_is_said_unless_a_ceiling_is_set() -> None:
    watch = Watch(1)
    watch.traffic.caller("support").cost = 1.0
    assert watch.go(60) == []
    ceiling = Detectors(DetectorConfig(token_cost=TokenCostConfig(ceiling_usd_per_min=10)))
    (detected,) = ceiling.evaluate(watch.state, watch.traffic.now)
    assert str(again(detected).subject) == "key:key-support"
    assert detected.finding.observations[0].expected == 10


def test_a_loop_that_also_costs_is_one_incident() -> None:
    watch = Watch(5, [Caller("research", runs_per_s=0.2, turns=1), Caller("batch", runs_per_s=1)])
    watch.go(200)
    caller = watch.traffic.caller("research")
    caller.looping, caller.cost = True, 0.02
    _, finding = watch.first(20)
    incident = OpenIncident(id=IncidentId("inc_1"), opened=finding.detected, findings=(finding,))
    later = [each.finding for each in watch.go(60)]
    assert {each.mode for each in later} == {FailureMode.RUNAWAY_LOOP, FailureMode.COST_SPIKE}
    assert {correlate(each, [incident]) for each in later} == {"inc_1"}


def troubled() -> Watch:
    """All three failure modes at once."""
    watch = Watch(4)
    watch.go(200)
    watch.traffic.caller("research").looping = True
    watch.traffic.caller("support").cost *= 80
    watch.traffic.fail = broken("dep-1", share=0.75)
    watch.go(60)
    return watch


def test_findings_are_deterministic() -> None:
    watch = troubled()
    now = watch.traffic.now
    found = DETECTORS.evaluate(watch.state, now)
    assert {each.finding.mode for each in found} == {
        FailureMode.RUNAWAY_LOOP, FailureMode.PROVIDER_OUTAGE, FailureMode.COST_SPIKE,
    }  # fmt: skip
    twin = SignalState(CONFIG, watch.traffic.topology())
    twin.restore(watch.state.snapshot())
    assert DETECTORS.evaluate(twin, now) == found


def test_invariant_8_every_finding_is_the_same_when_judged_again_from_its_basis() -> None:
    found = troubled().found
    assert len({each.finding.id for each in found}) > 50
    for detected in found:
        assert again(detected).state_digest == sha256(detected.snapshot)
        assert len(detected.snapshot) <= MAX_SNAPSHOT


def test_one_finding_for_many_looping_runs_and_none_once_they_ended() -> None:
    watch = Watch(1, [Caller("quiet", runs_per_s=0.01)])
    for run in range(5):
        for n in range(20):
            watch.state.apply(
                span(f"t{n}", at(n), SpanOp.TOOL, run=f"r{run}", tool="x", digest="d", key="k", sampling=0.5), at(20)
            )
    (detected,) = DETECTORS.evaluate(watch.state, at(21))
    finding = detected.finding
    assert (finding.severity, finding.estimated, str(finding.subject)) == (Severity.CRITICAL, True, "agent:bot")
    assert finding.scope.service == "svc"
    for run in range(5):
        watch.state.apply(span("root", at(22), SpanOp.AGENT, run=f"r{run}", parent=None), at(22))
    assert DETECTORS.evaluate(watch.state, at(23)) == ()
    assert resolved(finding, watch.state, at(23), DETECTORS.config)


def test_silence_clears_nothing() -> None:
    watch = Watch(1)
    watch.go(60)
    watch.traffic.fail = broken("dep-1")
    _, outage = watch.first(30)
    watch.traffic.caller("research").looping = True
    _, loop = next((n, d.finding) for n, d in enumerate(watch.go(30)) if d.finding.mode is FailureMode.RUNAWAY_LOOP)
    later = at(watch.traffic.second + 400)
    watch.state.tick(later)
    assert not resolved(outage, watch.state, later, DETECTORS.config)
    assert not resolved(loop, watch.state, later, DETECTORS.config)
    assert not all_resolved([], watch.state, later)
