"""What this version's adapters and agents are called and can do, as data for the lints, which may not import them.

It says what is possible at all; whether a configured target allows it is the adapter's precheck.
"""

from __future__ import annotations

from collections.abc import Iterable

from watchkeeper.adapters.catalog import capabilities
from watchkeeper.agents.manifest import MODULES
from watchkeeper.core.agents import remediates
from watchkeeper.policies.lint import Names
from watchkeeper.runbooks.lint import Offer


def offers() -> tuple[Offer, ...]:
    return tuple(
        Offer(
            intent=each.intent,
            target_kind=each.target_kind,
            parameters=frozenset(each.parameters.model_fields),
            needed=frozenset(name for name, field in each.parameters.model_fields.items() if field.is_required()),
            kind=each.kind,
        )
        for each in capabilities()
    )


def names(runbooks: Iterable[str]) -> Names:
    """What a policy may name, where these are the runbooks that there are."""
    return Names(
        runbooks=frozenset(runbooks),
        agents=frozenset(each for each in MODULES if remediates(each)),
        target_kinds=frozenset(each.target_kind for each in capabilities()),
    )
