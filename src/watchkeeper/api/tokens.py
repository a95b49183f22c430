"""Per-person access tokens, kept as SHA-256 hashes.

A token is 32 random bytes, so a fast hash is enough: there is nothing to guess. The clear text is shown once, when the
token is made, and cannot be had again. While the database cannot be asked, a sender whose token was good before may
still deliver: its signals are only looked at then, and refused with 503. Nobody may do anything else.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from datetime import datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import insert, select, update

from watchkeeper.api.tables import api_token
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError, StoreError
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.store.engine import Store

PREFIX = "wk_"
MAX_SENDERS = 1000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Tokens:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._senders: OrderedDict[str, tuple[Principal, datetime | None]] = OrderedDict()
        """By hash: who could deliver when last seen, with that role alone, and until when."""

    async def make(
        self, principal: str, kind: PrincipalKind, roles: tuple[Role, ...], ttl: timedelta | None = None
    ) -> SecretStr:
        """A new token for `principal`; its clear text is returned once. Raises InputError for an unusable name."""
        if not _ID.fullmatch(principal):
            raise InputError(
                f"{principal[:64]!r} is not a usable principal id",
                cause="ids are opaque handles: letters, digits, - and _, at most 64; not an e-mail address",
                next_step="watchkeeper token create --help",
            )
        token = PREFIX + secrets.token_urlsafe(32)
        await self.keep(SecretStr(token), principal, kind, roles, ttl)
        return SecretStr(token)

    async def keep(
        self,
        token: SecretStr,
        principal: str,
        kind: PrincipalKind,
        roles: tuple[Role, ...],
        ttl: timedelta | None = None,
    ) -> None:
        """Accepts a token that was made elsewhere (the daemon's own local token)."""
        now = self._clock.now()
        row = {
            "hash": _hash(token.get_secret_value()),
            "principal": principal,
            "kind": kind,
            "roles": ",".join(sorted(roles)),
            "created": now,
            "expires": None if ttl is None else now + ttl,
        }
        async with self._store.write() as tx:
            known = (await tx.execute(select(api_token.c.hash).where(api_token.c.hash == row["hash"]))).first()
            if known is None:
                await tx.execute(insert(api_token).values(**row))

    async def principal_of(self, token: str) -> Principal | None:
        """Who holds this token; None if it is unknown, expired or revoked."""
        name = _hash(token)
        try:
            async with self._store.read() as tx:
                row = (await tx.execute(select(api_token).where(api_token.c.hash == name))).one_or_none()
        except StoreError:
            sender, expires = self._senders.get(name, (None, None))
            if sender is None or (expires is not None and expires <= self._clock.now()):
                raise
            return sender
        self._senders.pop(name, None)
        if row is None or row.revoked is not None or (row.expires is not None and row.expires <= self._clock.now()):
            return None
        roles = tuple(Role(role) for role in row.roles.split(","))
        found = Principal(id=row.principal, kind=PrincipalKind(row.kind), roles=roles, authenticated_by="token")
        if found.may(Role.INGEST):
            self._senders[name] = found.model_copy(update={"roles": (Role.INGEST,)}), row.expires
            if len(self._senders) > MAX_SENDERS:
                self._senders.popitem(last=False)
        return found

    async def revoke(self, principal: str) -> int:
        """Revokes every token of a principal; returns how many."""
        for name in [name for name, (sender, _) in self._senders.items() if sender.id == principal]:
            del self._senders[name]
        async with self._store.write() as tx:
            done = await tx.execute(
                update(api_token)
                .where(api_token.c.principal == principal, api_token.c.revoked.is_(None))
                .values(revoked=self._clock.now())
            )
        return done.rowcount


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
