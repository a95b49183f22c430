"""What LangGraph carries of an incident: counters and the name of the next node, plain JSON only.

Everything of weight (diagnosis, plan, decision, outcome) is a recorded step; the state only says which one is current.
"""

from __future__ import annotations

from typing import TypedDict


class WatchState(TypedDict, total=False):
    incident: str
    next: str
    """The node to run next."""
    attempt: int
    """How often a plan was made anew (stale, refused, edited)."""
    edits: int
    """How often of these because a person edited the plan."""
    edited: str
    """The approval whose plan a person edited into the one to propose next; empty if the next plan is our own."""
    cycle: int
    """How often the plan was applied: 0 at first, +1 for each re-application after a relapse."""
    horizon: int
    extra: int
    """How often the last horizon was waited for again because the reading was inconclusive."""
    given: int
    """Release steps done in this cycle."""
    relapses: int
    undos: int
    """How often the undo was tried again because the target could not be asked."""
    order: str
    """The person's order that is being obeyed, empty if none is."""
    reason: str
    """Why it was escalated, or how it was resolved."""
    wait_until: str
    after: str
    """The node that a timed wait leads to."""
