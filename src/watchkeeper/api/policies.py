"""Policy over the API: activate a set of documents, go back to an older version, see what was in force when."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field, JsonValue

from watchkeeper.api.auth import Operator, Viewer, Wired
from watchkeeper.api.services import Services
from watchkeeper.core.errors import PolicyError, VerificationError
from watchkeeper.core.model import Contract
from watchkeeper.policies import load
from watchkeeper.policies.picture.svg import drawn
from watchkeeper.policies.versions import Activation

router = APIRouter(tags=["policy"])

MAX_TEXT = 1_000_000


class PolicyFile(Contract):
    name: str = Field(min_length=1, max_length=256)
    text: str = Field(max_length=MAX_TEXT)


class PolicyWanted(Contract):
    """Either a shipped `pack` or your own `files`."""

    pack: str = ""
    files: tuple[PolicyFile, ...] = Field(default=(), max_length=500)
    reason: str = Field(default="", max_length=2000)


class Why(Contract):
    """The reason, kept as evidence."""

    reason: str = Field(default="", max_length=2000)


class Activated(Activation):
    """`why`: the text of the reason, while it is kept and is what was recorded."""

    why: str | None


class PolicyInForce(Contract):
    version: str


class PolicyNode(Contract):
    """One document: `grants` says whether it gives authority or only takes it away."""

    name: str
    digest: str
    grants: bool
    document: dict[str, JsonValue]


class ActivePolicy(Contract):
    version: str
    nodes: tuple[PolicyNode, ...]


@router.post("/v1/policies")
async def activate(wanted: PolicyWanted, wired: Wired, caller: Operator) -> PolicyInForce:
    """Compiles the documents and puts them in force in one step, or refuses them whole."""
    if bool(wanted.pack) == bool(wanted.files):
        raise PolicyError(
            "give either a pack or files",
            place="pack",
            cause="both or neither were given",
            next_step="watchkeeper policy apply --help",
        )
    documents = load.pack(wanted.pack) if wanted.pack else load.from_texts({f.name: f.text for f in wanted.files})
    return PolicyInForce(version=await wired.versions.activate(documents, caller, wanted.reason))


@router.post("/v1/policies/{version}/rollback")
async def rollback(version: str, wired: Wired, caller: Operator, given: Why | None = None) -> PolicyInForce:
    reason = "" if given is None else given.reason
    return PolicyInForce(version=await wired.versions.rollback(version, caller, reason))


@router.get("/v1/policies")
async def history(wired: Wired, caller: Viewer) -> list[Activated]:
    """The newest activations, the latest first."""
    return [Activated(**dict(each), why=await _text(wired, each.reason)) for each in await wired.versions.history()]


async def _text(wired: Services, reason: str | None) -> str | None:
    try:
        body = None if reason is None else await wired.evidence.get(reason)
    except VerificationError:  # `ledger fsck` tells of it: who made what active is told all the same
        return None
    return None if body is None else body.decode()


@router.get("/v1/policies/{version}/graph.svg", response_class=Response)
async def graph(
    version: str, wired: Wired, caller: Viewer, focus: Annotated[str, Query(max_length=1000)] = ""
) -> Response:
    """A version, or the one that is `active`, drawn: where it gives authority, and what narrows it there."""
    policy = await (wired.versions.active() if version == "active" else wired.versions.load(version))
    return Response(await asyncio.to_thread(drawn, policy, focus), media_type="image/svg+xml")


@router.get("/v1/policies/active")
async def active(wired: Wired, caller: Viewer) -> ActivePolicy:
    """The policy in force, whole."""
    policy = await wired.versions.active()
    nodes = tuple(
        PolicyNode(
            name=node.name,
            digest=node.digest,
            grants=node.grants,
            document=node.document.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        )
        for node in policy.nodes
    )
    return ActivePolicy(version=policy.version, nodes=nodes)
