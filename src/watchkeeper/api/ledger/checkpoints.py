"""The signed checkpoint and the key that opens it."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.api.services import Services
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract

router = APIRouter(tags=["ledger"])


class LogKey(Contract):
    """The verifier key of this log, in C2SP's vkey form: remember it out of band."""

    vkey: str


@router.get("/v1/ledger/checkpoint", response_class=PlainTextResponse)
async def checkpoint(wired: Wired, caller: Viewer, cosigned: bool = False) -> str:
    """The newest signed checkpoint, a C2SP signed note, with whatever cosignatures it has; with `cosigned` the newest
    that the configured policy calls valid. Keep one elsewhere: it is the anchor of a later verify."""
    if cosigned:
        return await _valid(wired)
    newest = await wired.log.cosigned()
    if newest is None:
        raise NotFoundError(
            "nothing is signed yet", cause="the daemon has just started", next_step="try again in a second"
        )
    return newest


async def _valid(wired: Services) -> str:
    found = await wired.witnessing.cosigned()
    if found is None:
        raise NotFoundError(
            "no checkpoint has the cosignatures that the policy asks for",
            cause="ledger.policy_file is not set, or too few witnesses have answered",
            next_step="watchkeeper ledger witness status",
        )
    return found


@router.get("/v1/ledger/key")
async def key(wired: Wired, caller: Viewer) -> LogKey:
    return LogKey(vkey=wired.vkey)
