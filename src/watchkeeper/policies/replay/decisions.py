"""Makes a recorded decision again, from its recorded input and the policy version it names (invariant 8).

It compares nothing, and takes the input as it was recorded: whether that was true nobody can ask again.
"""

from __future__ import annotations

from collections.abc import Callable

from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.model import Contract
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.decide import decide


def decision_recomputer(load_policy: Callable[[str], Policy]) -> Callable[[Contract], Contract]:
    """For the ledger's registry under `EntryType.DECISION`. `load_policy` raises for a version that is not kept."""

    def recompute(recorded: Contract) -> Contract:
        if not isinstance(recorded, DecisionRecord):
            raise TypeError(f"a decision is recorded as DecisionRecord, not {type(recorded).__name__}")
        policy = load_policy(recorded.decision.policy_version)
        return recorded.model_copy(update={"decision": decide(policy, recorded.input)})

    return recompute
