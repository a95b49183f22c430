"""The guard of one process: the rules in force, the calls under way, and what is said of them.

`enter` answers at once and never waits for the network. A call that was let through is settled by its ticket with
what it really used; one whose end nobody tells stays charged with what was expected. It does NOT end calls that are
under way when a hold arrives: the next one is refused.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from watchkeeper_guard.engine import ALLOWED, Finding, Verdict, Weight, decide
from watchkeeper_guard.reports import Outcome, Reports
from watchkeeper_guard.request import Request
from watchkeeper_guard.rules import Doubt, Mode, Rule, Rules
from watchkeeper_guard.runs import MemoryRuns, Runs, RunState, StateBusyError

MAX_UNDER_WAY = 50_000
SETTLE_TRIES = 5
NO_RULES = Finding("", "guard_no_rules", 503, "the guard has no rules yet, and is set to refuse then", Weight.DOUBT)
BROKEN = Finding("", "guard_in_doubt", 503, "the guard failed, and a rule is set to refuse then", Weight.DOUBT)


class RefusedError(Exception):
    """A call that may not be made. `code` is stable; `status` is the HTTP status that says so."""

    def __init__(self, found: Finding) -> None:
        super().__init__(found.message)
        self.code, self.status, self.rule, self.message = found.code, found.status, found.rule, found.message


@dataclass(frozen=True)
class _UnderWay:
    run_key: bytes
    tokens: int
    micro_usd: int


class Guard:
    """`enter` before a call; `settle` or `refund` after it, with the same ticket."""

    def __init__(
        self,
        runs: Runs | None = None,
        *,
        on_start: Doubt = Doubt.OPEN,
        clock: Callable[[], float] = time.time,
        reports: Reports | None = None,
    ) -> None:
        self.runs: Runs = MemoryRuns() if runs is None else runs
        self.reports = Reports() if reports is None else reports
        self._on_start, self._clock = on_start, clock
        self._rules: Rules | None = None
        self.unsettled = 0
        self._lock = threading.Lock()
        self._under_way: OrderedDict[str, _UnderWay] = OrderedDict()

    @property
    def rules(self) -> Rules | None:
        return self._rules

    def put(self, rules: Rules) -> None:
        """From here on every call is judged by these."""
        self._rules = rules

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def enter(self, request: Request, ticket: str) -> Verdict:
        """The verdict; where it lets the call through, the run is charged in the same step."""
        rules, now = self._rules, self._clock()
        if rules is None:
            verdict = ALLOWED if self._on_start is Doubt.OPEN else Verdict(refusal=NO_RULES)
        elif not (matching := rules.matching(request, now)):
            return ALLOWED
        else:
            verdict = self._judge(matching, request, ticket, now)
        if verdict.count_to is None:
            self._report(verdict, request, now)
        return verdict

    def _judge(self, matching: list[Rule], request: Request, ticket: str, now: float) -> Verdict:
        if request.run is None or not any(rule.needs_run for rule in matching):
            return decide(matching, None, request)

        def step(run: RunState) -> tuple[RunState | None, Verdict]:
            verdict = decide(matching, run, request)
            if not verdict.allowed:
                return None, verdict
            return run.called(request.fingerprint, verdict.tokens, verdict.micro_usd, now), verdict

        try:
            verdict = self.runs.update(request.run_key, now, step)
        except StateBusyError:
            return decide(matching, None, request)
        if verdict.allowed:
            self._begin(ticket, _UnderWay(request.run_key, verdict.tokens, verdict.micro_usd))
        return verdict

    def _begin(self, ticket: str, call: _UnderWay) -> None:
        with self._lock:
            self._under_way[ticket] = call
            if len(self._under_way) > MAX_UNDER_WAY:
                self._under_way.popitem(last=False)  # stays charged

    def settle(self, ticket: str, tokens: int, micro_usd: int | None) -> None:
        """The call used so much. `micro_usd` None: not known, what was expected stays."""
        with self._lock:
            call = self._under_way.pop(ticket, None)
        if call is None:
            return
        money = 0 if micro_usd is None else micro_usd - call.micro_usd
        self._correct(call, tokens - call.tokens, money)

    def refund(self, ticket: str) -> None:
        """The call was not made, or surely cost nothing. It stays counted as a call."""
        self.settle(ticket, 0, 0)

    def abandon(self, ticket: str) -> None:
        """Nobody knows what the call cost: it stays charged."""
        with self._lock:
            self._under_way.pop(ticket, None)

    def _correct(self, call: _UnderWay, tokens: int, micro_usd: int) -> None:
        if not tokens and not micro_usd:
            return

        def step(run: RunState) -> tuple[RunState | None, None]:
            # a run that was forgotten meanwhile was not charged either
            return (run.corrected(tokens, micro_usd) if run.calls else None), None

        for _ in range(SETTLE_TRIES):
            try:
                self.runs.update(call.run_key, self._clock(), step)
                return
            except StateBusyError:
                continue
        self.unsettled += 1  # stays charged with what was expected

    def broken(self, request: Request | None) -> Verdict:
        """What to do when judging itself failed: refused if a rule about the call, or any where there is no telling
        which are, is closed in doubt."""
        rules = self._rules
        if rules is None:
            closed = self._on_start is Doubt.CLOSED
        else:
            listed = rules.rules if request is None else rules.matching(request, self._clock())
            closed = any(rule.on_doubt is Doubt.CLOSED and rule.mode is Mode.ENFORCE for rule in listed)
        verdict = Verdict(refusal=BROKEN) if closed else Verdict(doubts=(BROKEN,))
        self._report(verdict, request or Request(model=""), self._clock())
        return verdict

    def _report(self, verdict: Verdict, request: Request, now: float) -> None:
        told = (
            (() if verdict.refusal is None else (verdict.refusal,), Outcome.REFUSED),
            (verdict.audited, Outcome.AUDITED),
            (verdict.doubts, Outcome.DOUBTED),
            (verdict.marks if verdict.allowed else (), Outcome.MARKED),
        )
        for found, outcome in told:
            if found:
                self.reports.add(found, outcome, request, now)
