"""A team's own conditions: a CEL expression that must be true, and what follows when it is not.

What an expression sees and whether it holds is for `cel`. Nothing says that a rule is wise, or can ever be true.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from watchkeeper.core.manifest import Name, Section
from watchkeeper.policies.conditions.cel import MAX_EXPRESSION, checked


class RuleAction(StrEnum):
    """What follows when the expression is not true, or has no answer. `Warn` and `Audit` narrow nothing: the one tells
    whoever reads the decision, the other only the record."""

    DENY = "Deny"
    REQUIRE_APPROVAL = "RequireApproval"
    WARN = "Warn"
    AUDIT = "Audit"


class Rule(Section):
    """`expression` must be true; `message` tells a person why it has to be."""

    name: Name
    """Unique within the document; the walk of a decision names it."""
    expression: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION), AfterValidator(checked)]
    """The condition, in CEL."""
    message: str = Field(min_length=1, max_length=300)
    """Why it has to be true, for people."""
    action: RuleAction = RuleAction.DENY
    """What follows when it is not true."""


def in_order(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """A set of rules, each with a name of its own."""
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two rules are named {twice[0]!r}")
    return tuple(sorted(rules, key=lambda rule: rule.name))
