"""The gates in their order, and the walk of a request through them.

Every gate is asked, also after one has denied, so that the record names all that stands in the way; only where no Grant
matches there is nothing left to ask. A meet's program is kept for speed alone: no answer in it depends on the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, reduce
from typing import NamedTuple

from watchkeeper.core.decisions import ActionRequest, Autonomy, DecisionInput, Gate, Reason, Verdict
from watchkeeper.policies.gates import bounds, builtin, conditions, scales
from watchkeeper.policies.gates.answers import CORE, NOTHING, Answer, Answers, Case, narrower, passing
from watchkeeper.policies.gates.builtin import RAISED_BY, Settled, raised
from watchkeeper.policies.gates.scales import Bar, Scale, bars, measured
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.terms import Term, bits

Question = Callable[[Case], Answers]
Asked = tuple[Question | Scale | Settled, ...]

GATES: Mapping[Gate, Asked] = {
    Gate.PROTECTED: (builtin.protected,),
    Gate.GRANT: (Settled(builtin.grant),),
    Gate.LIMIT: (Settled(builtin.limit),),
    Gate.AUTONOMY: (Settled(builtin.autonomy),),
    Gate.STANDING: (builtin.standing,),
    Gate.KIND: (builtin.kind,),
    Gate.UNDO: (builtin.undo,),
    Gate.VERIFICATION: (builtin.verification, *scales.VERIFICATION),
    Gate.EDGE: (builtin.edge,),
    Gate.NOVELTY: (builtin.novelty,),
    Gate.CONFIDENCE: scales.CONFIDENCE,
    Gate.OWNER: (builtin.owner,),
    Gate.CONFLICT: (builtin.conflict,),
    Gate.WINDOW: (conditions.window,),
    Gate.FREEZE: (conditions.freeze,),
    Gate.ERROR_BUDGET: (conditions.error_budget,),
    Gate.BLAST_COUNT: scales.BLAST_COUNT,
    Gate.BLAST_SHARE: scales.BLAST_SHARE,
    Gate.RATE: scales.RATE,
    Gate.COOLDOWN: scales.COOLDOWN,
    Gate.CONCURRENCY: scales.CONCURRENCY,
    Gate.TRUST: scales.TRUST,
    Gate.EVIDENCE: (bounds.evidence,),
    Gate.RULE: (conditions.rule,),
    Gate.APPROVAL: (bounds.approval,),
}
"""In the order in which they are asked: that of `Gate`. One that has nothing to say against a request has passed."""

BOUND_BY: Mapping[Gate, tuple[Term, ...]] = {
    Gate.STANDING: (Term.PROMOTION,),
    Gate.WINDOW: (Term.WINDOWS,),
    Gate.FREEZE: (Term.FREEZE,),
    Gate.ERROR_BUDGET: (Term.BUDGET_LEFT, Term.MAX_BURN, Term.MIN_BURN),
    Gate.EVIDENCE: (Term.EVIDENCE,),
    Gate.RULE: (Term.RULE,),
    Gate.APPROVAL: (Term.QUORUM,),
}
"""Questions about what documents ask for: where none does, they need not be asked."""

SILENT = frozenset({Gate.STANDING, Gate.WINDOW, Gate.FREEZE, Gate.ERROR_BUDGET, Gate.RULE})
"""Gates that are not in the walk at all where nothing asks them; so a walk that was recorded before there were such
gates is still the same. All others are told to have passed."""

MAX_PROGRAMS = 64
"""How many a meet keeps: one for each set of built-in questions and step of a plan."""


class Turn(NamedTuple):
    """A bar to hold a number against, or a question, after the answers that are always the same. `silent` stands in the
    walk where the question has nothing to say."""

    before: Answers
    bar: Bar | None
    question: Question | None = None
    silent: Answers = NOTHING


class Program(NamedTuple):
    """A meet made ready for requests that raise the same built-in questions: what is left to ask, and `after` it the
    last of the answers that are always the same. `windows` are those of its rates."""

    turns: tuple[Turn, ...]
    after: Answers
    windows: tuple[str, ...]
    at_most: Verdict
    """What the answers leave that are always the same."""


class Walk(NamedTuple):
    """`at_most`: the narrowest that any answer leaves."""

    answers: list[Answer]
    at_most: Verdict


_PASSED, _ALLOW = Reason.PASSED, Verdict.ALLOW


def ask(given: DecisionInput, request: ActionRequest, met: Meet, autonomy: Autonomy) -> Walk:
    """The walk of one request: what each gate says, in order."""
    turns, after, windows, at_most = _program(met, raised(given, request), request.step)
    numbers, step, answers = measured(given, request, windows), request.step, list[Answer]()
    for before, bar, question, silent in turns:
        answers += before
        if bar is not None:
            slot, limit, at_least, told, gate, node, reason, beyond, unknown = bar
            number = numbers[slot]
            if number is None and unknown is not None:
                answers += unknown
            elif number is not None and (number >= limit if at_least else number <= limit):
                answers.append(Answer(gate, node, True, _PASSED, step, number, told, _ALLOW))
            else:
                answers.append(Answer(gate, node, False, reason, step, number, limit, beyond))
                at_most = narrower(beyond, at_most)
        elif question is not None:
            for answer in question(Case(given, request, met, autonomy)) or silent:
                answers.append(answer)
                at_most = narrower(answer.at_most, at_most)
    answers += after
    return Walk(answers, at_most)


def _program(met: Meet, flags: int, step: int) -> Program:
    found = met.programs.get((flags, step))
    if found is None:
        if len(met.programs) >= MAX_PROGRAMS:
            met.programs.clear()
        found = met.programs[flags, step] = _made(met, flags, step)
    assert isinstance(found, Program)
    return found


def _made(met: Meet, flags: int, step: int) -> Program:
    """Where no Grant matches, the gates after it have nothing to narrow."""
    windows = tuple([key.detail for key, _ in met.bounds.get(Term.RATE, ())])
    turns: list[Turn] = []
    said, at_most = list[Answer](), Verdict.ALLOW
    for gate, settled, questions, measures, flag, bounded in _sorted_out():
        before = len(turns), len(said)
        for item in settled:
            answers = item.says(met, step)
            said += answers
            at_most = reduce(narrower, [answer.at_most for answer in answers], at_most)
        found = [bar for scale in measures for bar in bars(gate, scale, met, windows, step)]
        if flags & flag or met.bounded & bounded:
            for question in questions:
                turns.append(Turn(tuple(said), None, question, NOTHING if found else _silent(gate, step)))
                said = []
        for bar in found:
            turns.append(Turn(tuple(said), bar))
            said = []
        if before == (len(turns), len(said)):
            said += _silent(gate, step)
        if gate is Gate.GRANT and not met.grants:
            break
    return Program(tuple(turns), tuple(said), windows, at_most)


class _Items(NamedTuple):
    """What a gate asks, by sort, with the bits for which its questions have to be asked."""

    gate: Gate
    settled: tuple[Settled, ...]
    questions: tuple[Question, ...]
    measures: tuple[Scale, ...]
    flag: int
    bounded: int


@cache
def _sorted_out() -> tuple[_Items, ...]:
    return tuple(
        _Items(
            gate,
            tuple(item for item in asked if isinstance(item, Settled)),
            tuple(item for item in asked if not isinstance(item, Settled | Scale)),
            tuple(item for item in asked if isinstance(item, Scale)),
            RAISED_BY.get(gate, 0),
            bits(BOUND_BY.get(gate, ())),
        )
        for gate, asked in GATES.items()
    )


@lru_cache(maxsize=4096)
def _silent(gate: Gate, step: int) -> Answers:
    return NOTHING if gate in SILENT else (passing(gate, CORE, step),)
