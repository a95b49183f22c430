"""While the database cannot be asked, known senders are let in to be looked at; nobody else, and for nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.testbed.stores import unreachable

from watchkeeper.api import tokens as module
from watchkeeper.api.tokens import Tokens
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import StoreError
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.store.engine import Store


async def token(tokens: Tokens, name: str, *roles: Role, ttl: timedelta | None = None) -> str:
    return (await tokens.make(name, PrincipalKind.SERVICE, roles, ttl)).get_secret_value()


@pytest.mark.parametrize("role", [Role.INGEST, Role.ADMIN])
async def test_invariant_11_a_known_sender_may_deliver_and_do_nothing_else(store: Store, role: Role) -> None:
    tokens = Tokens(store, ManualClock())
    known, unknown = await token(tokens, "known", role), await token(tokens, "unknown", role)
    await tokens.principal_of(known)
    with unreachable(store):
        found = await tokens.principal_of(known)
        assert found is not None
        assert (found.id, found.roles) == ("known", (Role.INGEST,))
        with pytest.raises(StoreError):
            await tokens.principal_of(unknown)
    restored = await tokens.principal_of(known)
    assert restored is not None
    assert restored.roles == (role,)


async def test_who_may_not_deliver_who_was_revoked_and_whose_token_ran_out_is_not_let_in(store: Store) -> None:
    clock = ManualClock()
    tokens = Tokens(store, clock)
    viewer, revoked = await token(tokens, "viewer", Role.VIEWER), await token(tokens, "revoked", Role.INGEST)
    short = await token(tokens, "short", Role.INGEST, ttl=timedelta(seconds=60))
    for each in (viewer, revoked, short):
        assert await tokens.principal_of(each)
    await tokens.revoke("revoked")
    clock.advance(61)
    with unreachable(store):
        for each in (viewer, revoked, short):
            with pytest.raises(StoreError):
                await tokens.principal_of(each)


async def test_few_senders_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SENDERS", 1)
    tokens = Tokens(store, ManualClock())
    first, second = await token(tokens, "first", Role.INGEST), await token(tokens, "second", Role.INGEST)
    await tokens.principal_of(first)
    await tokens.principal_of(second)
    with unreachable(store):
        assert await tokens.principal_of(second)
        with pytest.raises(StoreError):
            await tokens.principal_of(first)
