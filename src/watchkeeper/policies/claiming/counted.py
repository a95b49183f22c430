"""Caps that count what others do (rate, cool-down, concurrency), read again in the transaction that claims.

Two plans that were decided at the same time each saw the other not yet there; the second to claim sees the first here.
A plan is asked once, at its first claim: then it has its place, and its later steps are not taken from it. What it is
still going to do counts for nobody before it is claimed: several plans of many steps may pass a rate together.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.decisions import DecisionInput, DecisionRecord, Gate
from watchkeeper.core.plans import Plan
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.decide import against_now
from watchkeeper.policies.facts import PlanFacts, plan_facts
from watchkeeper.policies.gates.answers import Answer
from watchkeeper.policies.rows import claimed, counting_alone
from watchkeeper.policies.terms import Term, bits

_COUNTED = bits((Term.RATE, Term.COOLDOWN, Term.PER_TARGET, Term.FLEET))
_GATES = (Gate.RATE, Gate.COOLDOWN, Gate.CONCURRENCY)


async def line_up(tx: AsyncConnection, policy: Policy | None, record: DecisionRecord) -> bool:
    """Under a policy that counts, claims go one by one from here on. It comes before the gate that stops take alone, so
    that a stop waits for one of them and not for the whole line. A policy that is not the one that decided has nothing
    counted: the claim is refused for that. Tells whether the claim stands in line."""
    in_line = policy is not None and counts(policy, record)
    if in_line:
        await counting_alone(tx)
    return in_line


def counts(policy: Policy, record: DecisionRecord) -> bool:
    return any(met.bounded & _COUNTED for met in policy.met(record.input))


async def no_longer_within(
    tx: AsyncConnection, policy: Policy, plan: Plan, record: DecisionRecord, now: datetime
) -> Answer | None:
    """What the policy that decided says against it now, if that leaves less than was decided; None: nothing."""
    given = record.input
    if not counts(policy, record) or await claimed(tx, plan.id):
        return None
    fresh = await plan_facts(tx, plan, policy.rate_windows, now, counting_itself=False)
    return against_now(policy, _as_of_now(given, fresh), record.decision, _GATES)


def _as_of_now(given: DecisionInput, fresh: PlanFacts) -> DecisionInput:
    """The decision's input with nothing else changed than what is counted."""
    requests = tuple(
        request.model_copy(
            update={"seconds_since_last": facts.seconds_since_last, "running_on_target": facts.running},
        )
        for request, facts in zip(given.requests, fresh.targets, strict=True)
    )
    counted = {"requests": requests, "rates": fresh.rates, "running_fleet": fresh.running_fleet}
    return given.model_copy(update=counted)
