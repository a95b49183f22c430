"""Whom an approval asks, as one word: the detail by which the meet tells requirements apart (`terms`).

`approver,operator` alone is what the first version wrote. More roles that come in by escalation are part of the word,
so a document that adds them asks beside one that does not, and can never let more people answer for it (invariant 6).
"""

from __future__ import annotations

from typing import NamedTuple

from watchkeeper.core.decisions import ApprovalTerms, EscalationStep
from watchkeeper.policies.model import Approval

_NOT_AUTHOR, _SEPARATE = "notAuthor", "separate"


class Asked(NamedTuple):
    """The people: who holds one of `roles`, and who comes in later."""

    roles: tuple[str, ...]
    escalation: tuple[EscalationStep, ...] = ()


def asking(approval: Approval) -> str:
    """`roles[;notAuthor][;separate][;SECONDSs:roles@sinks]...`"""
    parts = [",".join(approval.roles)]
    parts += [_NOT_AUTHOR] if approval.not_author else []
    parts += [_SEPARATE] if approval.separate else []
    parts += [f"{step.after}s:{','.join(step.roles)}@{','.join(step.notify)}" for step in approval.escalation]
    return ";".join(parts)


def asked_of(word: str) -> tuple[Asked, bool, bool]:
    """The people, and whether authors are left out and each counts for one term only."""
    roles, *rest = word.split(";")
    steps = tuple(_step(part) for part in rest if part not in (_NOT_AUTHOR, _SEPARATE))
    return Asked(_names(roles), steps), _NOT_AUTHOR in rest, _SEPARATE in rest


def stricter(one: ApprovalTerms, other: ApprovalTerms) -> ApprovalTerms:
    """Both at once, of the same people. The larger quorum names its document; between equals the first name does."""
    named = min(one, other, key=lambda each: (-each.quorum, each.node))
    return named.model_copy(
        update={
            "ttl_s": min(one.ttl_s, other.ttl_s),
            "not_author": one.not_author or other.not_author,
            "separate": one.separate or other.separate,
        }
    )


def _step(part: str) -> EscalationStep:
    after, _, rest = part.partition("s:")
    roles, _, sinks = rest.partition("@")
    return EscalationStep(after_s=int(after), roles=_names(roles), notify=_names(sinks))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()
