"""The gates in their order, and the walk of a request through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from watchkeeper.core.decisions import ActionRequest, Autonomy, DecisionInput, Gate
from watchkeeper.policies.gates import bounds, builtin, conditions
from watchkeeper.policies.gates.answers import CORE, Answer, Answers, Case, passing
from watchkeeper.policies.gates.builtin import RAISED_BY, raised
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.terms import Term, bits

Question = Callable[[Case], Answers]

GATES: Mapping[Gate, Question] = {
    Gate.PROTECTED: builtin.protected,
    Gate.GRANT: builtin.grant,
    Gate.LIMIT: builtin.limit,
    Gate.AUTONOMY: builtin.autonomy,
    Gate.STANDING: builtin.standing,
    Gate.KIND: builtin.kind,
    Gate.UNDO: builtin.undo,
    Gate.VERIFICATION: bounds.verification,
    Gate.EDGE: builtin.edge,
    Gate.NOVELTY: builtin.novelty,
    Gate.CONFIDENCE: bounds.confidence,
    Gate.OWNER: builtin.owner,
    Gate.CONFLICT: builtin.conflict,
    Gate.WINDOW: conditions.window,
    Gate.FREEZE: conditions.freeze,
    Gate.ERROR_BUDGET: conditions.error_budget,
    Gate.BLAST_COUNT: bounds.blast_count,
    Gate.BLAST_SHARE: bounds.blast_share,
    Gate.RATE: bounds.rate,
    Gate.COOLDOWN: bounds.cooldown,
    Gate.CONCURRENCY: bounds.concurrency,
    Gate.TRUST: bounds.trust,
    Gate.EVIDENCE: bounds.evidence,
    Gate.RULE: conditions.rule,
    Gate.APPROVAL: bounds.approval,
}
"""In the order in which they are asked: that of `Gate`. One that has nothing to say against a request has passed."""

BOUND_BY: Mapping[Gate, tuple[Term, ...]] = {
    Gate.STANDING: (Term.PROMOTION,),
    Gate.VERIFICATION: (Term.HORIZONS, Term.LAST_HORIZON, Term.GUARDS),
    Gate.CONFIDENCE: (Term.CONFIDENCE,),
    Gate.WINDOW: (Term.WINDOWS,),
    Gate.FREEZE: (Term.FREEZE,),
    Gate.ERROR_BUDGET: (Term.BUDGET_LEFT, Term.MAX_BURN, Term.MIN_BURN),
    Gate.BLAST_COUNT: (Term.BLAST_COUNT,),
    Gate.BLAST_SHARE: (Term.BLAST_SHARE,),
    Gate.RATE: (Term.RATE,),
    Gate.COOLDOWN: (Term.COOLDOWN,),
    Gate.CONCURRENCY: (Term.PER_TARGET, Term.FLEET),
    Gate.TRUST: (Term.TRUST,),
    Gate.EVIDENCE: (Term.EVIDENCE,),
    Gate.RULE: (Term.RULE,),
    Gate.APPROVAL: (Term.QUORUM,),
}
"""Gates that hold what is observed against a bound: where the documents set none, they need not be asked."""

SILENT = frozenset({Gate.STANDING, Gate.WINDOW, Gate.FREEZE, Gate.ERROR_BUDGET, Gate.RULE})
"""Gates that are not in the walk at all where nothing asks them; so a walk that was recorded before there were such
gates is still the same. All others are told to have passed."""

_Turn = tuple[Question | None, Answers]
"""A question, and what stands in the walk where it has no answer. None: gates that need not be asked, in a row."""


@lru_cache(maxsize=4096)
def _turns(bounded: int, flags: int, granted: bool, step: int) -> tuple[_Turn, ...]:
    """Every gate in order; where no Grant matches, the gates after it have nothing to narrow."""
    turns: list[_Turn] = []
    for gate, question in GATES.items():
        silent = () if gate in SILENT else (passing(gate, CORE, step),)
        if _asked(gate, bounded, flags):
            turns.append((question, silent))
        elif turns and turns[-1][0] is None:
            turns[-1] = (None, turns[-1][1] + silent)
        else:
            turns.append((None, silent))
        if gate is Gate.GRANT and not granted:
            break
    return tuple(turns)


def _asked(gate: Gate, bounded: int, flags: int) -> bool:
    bound, flag = BOUND_BY.get(gate), RAISED_BY.get(gate, 0)
    if bound is None and not flag:
        return True
    return bool(flags & flag) or (bound is not None and bool(bounded & bits(bound)))


def ask(given: DecisionInput, request: ActionRequest, met: Meet, autonomy: Autonomy) -> list[Answer]:
    """The walk of one request: what each gate says, in order."""
    case = Case(given, request, met, autonomy)
    walk: list[Answer] = []
    for question, silent in _turns(met.bounded, raised(given, request), bool(met.grants), request.step):
        walk += silent if question is None else question(case) or silent
    return walk
