"""What the authors of rules tell people about one decision. Looked up when somebody looks: the record names the rules,
and the text stays in the policy version that was asked."""

from __future__ import annotations

from watchkeeper.core.decisions import Decision, Gate, GateResult, Reason
from watchkeeper.core.errors import NotFoundError, UnavailableError
from watchkeeper.core.model import Contract
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.versions import PolicyVersions

_TOLD = (Reason.RULE_NOT_MET, Reason.RULE_UNKNOWN, Reason.WARNED)
"""What is only audited is for the record."""


class RuleMessage(Contract):
    """A rule of a document that was not true. `message`: None where the policy is not kept as it was."""

    node: str
    rule: str
    reason: Reason
    message: str | None


class Messages:
    """Loads a version only when a rule of it has something to say, and once."""

    def __init__(self, versions: PolicyVersions) -> None:
        self._versions = versions
        self._known: dict[str, Policy | None] = {}

    async def of(self, decision: Decision) -> tuple[RuleMessage, ...]:
        """In the order of the walk; a rule that several steps do not meet is told once."""
        found = dict.fromkeys(_rule(each) for each in decision.walk if each.gate is Gate.RULE and each.reason in _TOLD)
        if not found:
            return ()
        policy = await self._policy(decision.policy_version)
        return tuple(
            RuleMessage(node=node, rule=rule, reason=reason, message=(policy and policy.message(node, rule)) or None)
            for node, rule, reason in found
        )

    async def _policy(self, version: str) -> Policy | None:
        if version not in self._known:
            try:
                self._known[version] = await self._versions.load(version)
            except (NotFoundError, UnavailableError):  # the rules are named all the same
                self._known[version] = None
        return self._known[version]


def _rule(result: GateResult) -> tuple[str, str, Reason]:
    return result.node, str(result.observed), result.reason
