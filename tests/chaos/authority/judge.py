"""The verdict, from the target's journal and the ledger's entries alone.

Entries are judged in the order in which they were appended: a stop holds its gate until it commits, so a claim that was
appended after it was committed after it. Two things that no gate of ours can close are counted apart, not excused
unseen: an executor that was frozen between its last look and the send (`limitations.md`) may act late, and then must
have been listed in flight by every stop of its scope that came before it acted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from watchkeeper.core.claims import Claim
from watchkeeper.core.consents import ApprovalAnswer, ApprovalAnswered, ApprovalRequested
from watchkeeper.core.entries import StopRecorded
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect, EffectOutcome

CLOCK_S, WOKEN_S = 0.05, 0.5
"""By how much two readings of one machine's clock may seem to differ; and how long it may take on a busy machine until
sender and target are both woken."""


class Line(NamedTuple):
    """One line of the journal: `heard` or `did`."""

    what: str
    key: str
    at: float

    @property
    def effect(self) -> str:
        """What it is an effect of, whoever asked for it under whatever key."""
        return self.key.partition("~")[0]


@dataclass
class _Key:
    claims: list[Claim] = field(default_factory=list)
    ends: list[EffectOutcome] = field(default_factory=list)


@dataclass
class Verdict:
    """`problems`: what must not be; `counts`: what was there."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def judge(
    entries: Iterable[tuple[float, Contract]], journal: list[Line], frozen: frozenset[str], off_s: dict[str, float]
) -> Verdict:
    """`entries`: with the seconds at which each was appended. `frozen`: keys at whose last look an executor was frozen.
    `off_s`: how far the clock of each holder is ahead."""
    told, verdict = list(entries), Verdict()
    keys = _by_key(told)
    _claims_in_order([entry for _, entry in told], verdict)
    _effects(keys, journal, frozen, off_s, verdict)
    _ends(keys, journal, frozen, verdict)
    _listed(told, keys, journal, verdict)
    verdict.counts.update(
        claims=sum(len(each.claims) for each in keys.values()),
        effects=sum(line.what == "did" for line in journal),
        unknown=sum(end.effect is Effect.UNKNOWN for each in keys.values() for end in each.ends),
        stops=sum(isinstance(entry, StopRecorded) and entry.stopped for _, entry in told),
    )
    return verdict


def _by_key(told: list[tuple[float, Contract]]) -> dict[str, _Key]:
    keys: dict[str, _Key] = defaultdict(_Key)
    for _, entry in told:
        if isinstance(entry, Claim):
            keys[entry.key].claims.append(entry)
        elif isinstance(entry, EffectOutcome):
            keys[entry.key].ends.append(entry)
    return keys


def _claims_in_order(entries: list[Contract], verdict: Verdict) -> None:
    """No claim under a stop or an old epoch; each approval for one plan, given before, in time, once."""
    stopped: dict[str, bool] = {}
    epochs: dict[str, int] = {}
    asked: dict[str, ApprovalRequested] = {}
    given: set[str] = set()
    used: dict[str, list[Claim]] = defaultdict(list)
    for entry in entries:
        match entry:
            case StopRecorded():
                stopped[entry.scope], epochs[entry.scope] = entry.stopped, entry.epoch.epoch
            case ApprovalRequested():
                asked[entry.approval] = entry
            case ApprovalAnswered() if entry.answer is ApprovalAnswer.APPROVED:
                given.add(entry.approval)
            case Claim():
                for seen in entry.epochs:
                    if stopped.get(seen.scope):
                        verdict.problems.append(f"{entry.key} was claimed while {seen.scope} was stopped")
                    elif epochs.get(seen.scope, 0) != seen.epoch:
                        verdict.problems.append(f"{entry.key} was claimed under an old epoch of {seen.scope}")
                if entry.approval is not None:
                    _approved(entry, asked, given, used, verdict)


def _approved(
    claim: Claim, asked: dict[str, ApprovalRequested], given: set[str], used: dict[str, list[Claim]], verdict: Verdict
) -> None:
    """In time: when its plan was begun; it covers all of that, so that a plan is not left half done."""
    approval = claim.approval
    assert approval is not None
    request, earlier = asked.get(approval), used[approval]
    if request is None or approval not in given or request.plan_hash != claim.plan_hash:
        verdict.problems.append(f"{claim.key} was claimed without its approval")
    elif claim.taken > request.expires and all(each.key == claim.key for each in earlier):
        verdict.problems.append(f"{claim.key} was claimed after its approval had ended")
    if any(each.plan != claim.plan for each in earlier):
        verdict.problems.append(f"{approval} was used for two plans")
    earlier.append(claim)
    verdict.counts["approved"] += 1


def _effects(
    keys: dict[str, _Key], journal: list[Line], frozen: frozenset[str], off_s: dict[str, float], verdict: Verdict
) -> None:
    """Each under a claim that permitted it then; none twice."""
    for line in journal:
        claims = keys[line.key].claims if line.key in keys else []
        before = [each for each in claims if _true(each.taken.timestamp(), each, off_s) <= line.at + CLOCK_S]
        if not before:
            verdict.problems.append(f"{line.key} {line.what} without a claim")
        elif line.what == "heard" and not any(
            line.at <= _true(each.not_after.timestamp(), each, off_s) + WOKEN_S for each in before
        ):
            if line.effect in frozen:
                verdict.counts["late_after_a_freeze"] += 1
            else:
                verdict.problems.append(f"{line.key} was sent after its deadline")
    for effect, count in Counter(line.effect for line in journal if line.what == "did").items():
        if count > 1 and effect in frozen:
            verdict.counts["twice_after_a_freeze"] += 1
        elif count > 1:
            verdict.problems.append(f"{effect} was done {count} times")


def _true(at: float, claim: Claim, off_s: dict[str, float]) -> float:
    return at - off_s.get(claim.holder, 0.0)


def _ends(keys: dict[str, _Key], journal: list[Line], frozen: frozenset[str], verdict: Verdict) -> None:
    """Everything claimed is settled in the end, and as it was."""
    did = Counter(line.key for line in journal if line.what == "did")
    for key, known in keys.items():
        last = known.ends[-1].effect if known.ends else None
        if last not in (Effect.SUCCEEDED, Effect.FAILED):
            verdict.problems.append(f"{key} is not settled: {last}")
        elif (last is Effect.SUCCEEDED) != bool(did[key]):
            if key.partition("~")[0] in frozen:
                verdict.counts["settled_otherwise_after_a_freeze"] += 1
            else:
                verdict.problems.append(f"{key} was settled as {last}, the target did it {did[key]} times")


def _listed(told: list[tuple[float, Contract]], keys: dict[str, _Key], journal: list[Line], verdict: Verdict) -> None:
    """What acted after a stop of its scope was claimed before it, and the stop said so."""
    order = {id(entry): at for at, (_, entry) in enumerate(told)}
    for at, entry in told:
        if not isinstance(entry, StopRecorded) or not entry.stopped:
            continue
        for line in journal:
            if line.what != "did" or line.at < at + CLOCK_S or line.key not in keys:
                continue
            known = keys[line.key]
            before = [each for each in known.claims if order[id(each)] < order[id(entry)]]
            again = len(before) < len(known.claims)
            ended = any(order[id(end)] < order[id(entry)] and end.effect is not Effect.UNKNOWN for end in known.ends)
            if before and not again and not ended and any(seen.scope == entry.scope for seen in before[-1].epochs):
                if before[-1].id in entry.in_flight:
                    verdict.counts["landed_listed"] += 1
                else:
                    verdict.problems.append(f"{line.key} landed after the stop of {entry.scope} that did not list it")
