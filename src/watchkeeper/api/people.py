"""Access tokens of people and of senders."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from pydantic import Field

from watchkeeper.api.auth import Admin, Viewer, Wired
from watchkeeper.core.model import Contract
from watchkeeper.core.principals import Principal, PrincipalKind, Role

router = APIRouter(tags=["people"])


class TokenWanted(Contract):
    principal: str
    kind: PrincipalKind = PrincipalKind.PERSON
    roles: tuple[Role, ...] = Field(min_length=1)
    days: int | None = Field(default=None, ge=1, le=3650)


class TokenMade(Contract):
    """The only time that the token is shown."""

    principal: str
    token: str


class Revoked(Contract):
    principal: str
    tokens: int


@router.get("/v1/whoami")
async def whoami(caller: Viewer) -> Principal:
    return caller


@router.post("/v1/tokens", status_code=201)
async def make(wanted: TokenWanted, wired: Wired, caller: Admin) -> TokenMade:
    ttl = None if wanted.days is None else timedelta(days=wanted.days)
    token = await wired.tokens.make(wanted.principal, wanted.kind, wanted.roles, ttl)
    return TokenMade(principal=wanted.principal, token=token.get_secret_value())


@router.delete("/v1/tokens/{principal}")
async def revoke(principal: str, wired: Wired, caller: Admin) -> Revoked:
    """Revokes every token that this principal holds."""
    return Revoked(principal=principal, tokens=await wired.tokens.revoke(principal))
