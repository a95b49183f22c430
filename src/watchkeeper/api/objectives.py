"""Service level objectives: what is left of each error budget, and how fast it burns."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.decisions import BudgetReading
from watchkeeper.core.model import Contract
from watchkeeper.core.objectives import Objective

router = APIRouter(tags=["authority"])


class ObjectiveNow(Contract):
    """`reading` is what a decision would be told, over a handful of windows."""

    objective: Objective
    reading: BudgetReading


@router.get("/v1/objectives")
async def objectives(wired: Wired, caller: Viewer) -> list[ObjectiveNow]:
    """In the order of the settings."""
    return [ObjectiveNow(objective=each, reading=reading) for each, reading in await wired.budgets.shown()]
