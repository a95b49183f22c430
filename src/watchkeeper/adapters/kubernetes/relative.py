"""What is asked for in relation to what is there: so many replicas more, so many times the memory. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from watchkeeper.adapters.kubernetes.capabilities import Scale, SetResources
from watchkeeper.adapters.kubernetes.quantity import canonical, worth
from watchkeeper.core.actions import TargetState
from watchkeeper.core.model import Scalar

MEBI = 1024 * 1024
LIMIT = "memory_limit:"


def scaled(parameters: Scale, state: TargetState) -> Mapping[str, Scalar]:
    return {"replicas": parameters.beyond(state.value("replicas"))}


def limited(state: TargetState, container: str | None) -> tuple[str, ...]:
    """The containers that have a memory limit, or the one that is meant if it has."""
    found = (field.path.removeprefix(LIMIT) for field in state.fields if field.path.startswith(LIMIT) and field.value)
    return tuple(name for name in found if container is None or name == container)


def enlarged(parameters: SetResources, state: TargetState) -> Mapping[str, Scalar]:
    """The memory limit of the one container that is meant, in whole MiB; never less than it has."""
    assert parameters.memory_factor is not None
    (name,) = limited(state, parameters.container)
    now = worth(str(state.value(LIMIT + name)))
    wanted = min(math.ceil(now * parameters.memory_factor / MEBI), parameters.memory_at_most_mib)
    if wanted * MEBI <= now:
        return {LIMIT + name: state.value(LIMIT + name)}
    return {LIMIT + name: canonical(f"{wanted}Mi")}
