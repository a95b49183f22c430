"""One incident replayed: its story in order, each step with its inputs, and whether it comes out the same again."""

from __future__ import annotations

import json

from fastapi import APIRouter

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.api.ledger.replays import recomputers
from watchkeeper.api.services import Services
from watchkeeper.core.errors import VerificationError
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.ledger.reader import Entry
from watchkeeper.ledger.replays.again import Again, made_again
from watchkeeper.ledger.replays.recomputers import Recomputers
from watchkeeper.ledger.replays.story import StoryStep, story_step

router = APIRouter(tags=["ledger"])

MAX_BASES = 8_000_000
"""Bytes of all bases of one answer together; later ones are left out, and still judged again."""


class ReplayedStep(Contract):
    """`again`: what came of making it again; None for what nobody makes (a call, a person's answer). `basis`: the whole
    basis of a finding or diagnosis, if it is kept and there is room; every other input is in the step's own data."""

    step: StoryStep
    again: Again | None
    basis: dict[str, object] | None = None


@router.get("/v1/incidents/{incident}/replay")
async def replay(incident: IncidentId, wired: Wired, caller: Viewer) -> list[ReplayedStep]:
    """The incident's entries in order, each made again from its recorded inputs where that can be done."""
    await wired.incidents.get(incident)
    known, room = await recomputers(wired.versions), MAX_BASES
    replayed = []
    for entry in await wired.log.by_subject(incident):
        body = await _basis(entry, known, wired)
        fits = body is not None and len(body) <= room
        room -= len(body) if body is not None and fits else 0
        replayed.append(await _replayed(entry, known, wired, body if fits else None))
    return replayed


async def _replayed(entry: Entry, known: Recomputers, wired: Services, body: bytes | None) -> ReplayedStep:
    recompute = await known.bound(entry.envelope, wired.evidence.get)
    return ReplayedStep(
        step=await story_step(entry, wired.evidence),
        again=None if recompute is None else made_again(entry.envelope, recompute),
        basis=None if body is None else _object(body),
    )


async def _basis(entry: Entry, known: Recomputers, wired: Services) -> bytes | None:
    name = known.commitment(entry.envelope)
    try:
        return None if name is None else await wired.evidence.get(name)
    except VerificationError:  # `again` tells of it
        return None


def _object(body: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
