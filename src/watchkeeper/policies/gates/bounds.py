"""What documents ask for by name: evidence, and people's approval."""

from __future__ import annotations

from watchkeeper.core.decisions import Gate, Reason, Verdict
from watchkeeper.policies.gates.answers import ON_FAILURE, Answers, Case
from watchkeeper.policies.terms import Term


def evidence(case: Case) -> Answers:
    signs = case.given.signs
    return tuple(
        [
            case.failed(
                Gate.EVIDENCE, Reason.EVIDENCE_MISSING, ON_FAILURE[key.on_failure], bound.node, limit=key.detail
            )
            for key, bound in case.bounds(Term.EVIDENCE)
            if key.detail not in signs
        ]
    )


def approval(case: Case) -> Answers:
    ask = Verdict.REQUIRE_APPROVAL
    return tuple(
        [
            case.failed(Gate.APPROVAL, Reason.APPROVAL_REQUIRED, ask, bound.node, key.detail, -bound.tightness)
            for key, bound in case.bounds(Term.QUORUM)
        ]
    )
