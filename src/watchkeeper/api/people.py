"""Access tokens of people and of senders."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from watchkeeper.api.auth import Admin, Known, Wired
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.core.principals import Principal, PrincipalKind, Role

router = APIRouter(tags=["people"])


class TokenWanted(Contract):
    """A person's, or a sender's or program's (`service`), which can never approve."""

    principal: str
    kind: Literal[PrincipalKind.PERSON, PrincipalKind.SERVICE] = PrincipalKind.PERSON
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
async def whoami(caller: Known) -> Principal:
    return caller


@router.post("/v1/tokens", status_code=201)
async def make(wanted: TokenWanted, wired: Wired, caller: Admin) -> TokenMade:
    ttl = None if wanted.days is None else timedelta(days=wanted.days)
    token = await wired.tokens.make(wanted.principal, wanted.kind, wanted.roles, ttl)
    return TokenMade(principal=wanted.principal, token=token.get_secret_value())


@router.delete("/v1/tokens/{principal}")
async def revoke(principal: str, wired: Wired, caller: Admin) -> Revoked:
    """Revokes every token that this principal holds."""
    tokens = await wired.tokens.revoke(principal)
    if not tokens:
        raise NotFoundError(
            f"{principal[:64]} holds no token that could be revoked",
            cause="the id is mistyped, or its tokens were revoked before",
            next_step="watchkeeper token create --help",
        )
    return Revoked(principal=principal, tokens=tokens)
