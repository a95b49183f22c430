"""Every call has a Principal: a bearer token, or nothing and a 401."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from watchkeeper.api.services import Services
from watchkeeper.core.errors import ForbiddenError, WatchkeeperError
from watchkeeper.core.principals import Principal, PrincipalKind, Role


class UnauthenticatedError(WatchkeeperError):
    code = "unauthenticated"
    exit_code = 6
    http_status = 401


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Wired = Annotated[Services, Depends(services)]


async def principal(request: Request, wired: Wired) -> Principal:
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    known = await wired.tokens.principal_of(token.strip()) if scheme.lower() == "bearer" and token else None
    if known is None:
        raise UnauthenticatedError(
            "this call carries no valid token",
            cause="the Authorization header is missing, or its token is unknown, expired or revoked",
            next_step="watchkeeper token create NAME --role ROLE",
        )
    return known


def require(*roles: Role) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency that lets through who holds one of `roles` (an admin holds all)."""

    async def check(caller: Annotated[Principal, Depends(principal)]) -> Principal:
        if not caller.may(*roles):
            wanted = " or ".join(roles)
            raise ForbiddenError(
                f"{caller.id} may not do this",
                cause=f"it needs the role {wanted}",
                next_step=f"watchkeeper token create NAME --role {roles[0]}",
            )
        return caller

    return check


async def in_person(caller: Annotated[Principal, Depends(require(Role.OPERATOR))]) -> Principal:
    if caller.kind is not PrincipalKind.PERSON:
        raise ForbiddenError(
            f"{caller.id} may not do this",
            cause="it is a service; this is for people to decide",
            next_step="watchkeeper token create NAME --role operator",
        )
    return caller


Known = Annotated[Principal, Depends(principal)]
"""Anybody with a token; what he may do is asked further on, such as by the terms of an approval."""
Viewer = Annotated[Principal, Depends(require(Role.VIEWER, Role.APPROVER, Role.OPERATOR))]
Judge = Annotated[Principal, Depends(require(Role.APPROVER, Role.OPERATOR))]
Ingester = Annotated[Principal, Depends(require(Role.INGEST))]
Operator = Annotated[Principal, Depends(require(Role.OPERATOR))]
OperatorInPerson = Annotated[Principal, Depends(in_person)]
Admin = Annotated[Principal, Depends(require(Role.ADMIN))]
