"""Our own effects as signals, so that what we did stands among the changes that a diagnosis looks at.

An effect that failed is no change; one that is unknown may be, and is told as such.
"""

from __future__ import annotations

from watchkeeper.core.actions import Intent, Target
from watchkeeper.core.model import labels
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.signals import Event, EventKind
from watchkeeper.core.subjects import Subject, SubjectKind

SOURCE = "watchkeeper"

_KINDS = {kind.value: kind for kind in SubjectKind}


def own_effect(outcome: EffectOutcome, target: Target, intent: Intent) -> Event:
    """`active` is false where nothing was changed. The gateway's words for kinds of things are mostly ours."""
    return Event(
        id=f"{outcome.claim}/{outcome.fence}/{outcome.effect}",
        source=SOURCE,
        at=outcome.at,
        kind=EventKind.OWN_EFFECT,
        name=intent.value,
        subject=_subject(target),
        active=outcome.effect is not Effect.FAILED,
        labels=labels(adapter=target.adapter, code=outcome.code, effect=outcome.effect.value, kind=target.kind),
    )


def _subject(target: Target) -> Subject:
    """What is none of our kinds is told of the gateway that holds it."""
    infrastructure = Subject.of_target(target)
    if infrastructure is not None:
        return infrastructure
    kind = _KINDS.get(target.kind)
    return Subject(kind=SubjectKind.GATEWAY, id=target.adapter) if kind is None else Subject(kind=kind, id=target.id)
