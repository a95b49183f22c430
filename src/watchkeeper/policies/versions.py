"""Policy versions: kept for ever, activated and rolled back in one atomic step that leaves a ledger entry.

An activation waits for claims that are committing, as a stop does, and every later claim sees the new version; what a
claim already permitted it does not call back. Nothing is compiled here that does not decide as its digest says: a
stored document that changed is found when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical
from watchkeeper.core.clock import Clock
from watchkeeper.core.digest import sha256
from watchkeeper.core.entries import Draft, EntryType, PolicyActivated
from watchkeeper.core.errors import ForbiddenError, NotFoundError, PolicyError, UnavailableError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.model import PolicyDocument, document_of
from watchkeeper.policies.replay.kept import Version
from watchkeeper.policies.rows import insert_or_ignore
from watchkeeper.policies.tables import policy_activation, policy_active, policy_document, policy_version
from watchkeeper.policies.words import MAX_REASON_BYTES
from watchkeeper.store.engine import Priority, Store

MAX_LISTED = 500
"""Documents named in the ledger entry. Of a larger policy the version alone is named, which covers them all."""
_BATCH = 500


class Activation(Contract):
    """One line of the history. `reason` is the commitment under which the evidence store keeps the text."""

    version: str
    previous: str | None
    author: str
    reason: str | None
    at: Instant


class PolicyVersions:
    def __init__(self, store: Store, ledger: Ledger, clock: Clock, evidence: Evidence | None = None) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        self._evidence = evidence or Evidence(store, clock=clock)
        self._cached: Policy | None = None

    async def activate(self, documents: PolicySet, by: Principal, reason: str = "") -> str:
        """Makes the documents the policy and returns its version. Activating what is active changes nothing.

        Raises PolicyError if they do not compile, ForbiddenError if `by` may not.
        """
        policy = compile_policy(documents)
        bodies = [(node.digest, node.document.body()) for node in policy.nodes]
        async with self._store.write(Priority.STOP) as tx:
            await self._store.gate_exclusive(tx)
            await _keep(tx, policy.version, bodies)
            await self._switch(tx, policy.version, [node.digest for node in policy.nodes], by, reason)
        return policy.version

    async def rollback(self, version: str, by: Principal, reason: str = "") -> str:
        """Makes a version active that was active before. Raises NotFoundError if it never was."""
        policy = await self.load(version)
        async with self._store.write(Priority.STOP) as tx:
            await self._store.gate_exclusive(tx)
            await self._switch(tx, version, [node.digest for node in policy.nodes], by, reason)
        return version

    async def active(self) -> Policy:
        """The policy in force. Raises UnavailableError before the first activation."""
        async with self._store.read() as tx:
            version = await self.active_version(tx)
            known = self._known(version)
            bodies = [] if version is None or known else await _bodies(tx, version)
        if version is None:
            raise UnavailableError(
                "no policy is active",
                cause="none was ever activated",
                next_step="start `watchkeeper serve`: it installs the default",
            )
        self._cached = known or _compiled(version, bodies)
        return self._cached

    async def if_active(self, tx: AsyncConnection, version: str) -> Policy | None:
        """In the caller's transaction, for a claim: this version, if it is the one in force. Of all versions the one in
        force is kept compiled, by whoever decided; so it is compiled in here only after a restart."""
        if await self.active_version(tx) != version:
            return None
        self._cached = self._known(version) or _compiled(version, await _bodies(tx, version))
        return self._cached

    def _known(self, version: str | None) -> Policy | None:
        return self._cached if self._cached is not None and self._cached.version == version else None

    async def active_version(self, tx: AsyncConnection) -> str | None:
        version: str | None = (await tx.execute(select(policy_active.c.version))).scalar_one_or_none()
        return version

    async def load(self, version: str) -> Policy:
        """A version that was once activated, from its stored documents; the digests are checked."""
        async with self._store.read() as tx:
            bodies = await _bodies(tx, version)
        return _compiled(version, bodies)

    async def every(self) -> dict[str, Policy]:
        """All versions, for replay."""
        async with self._store.read() as tx:
            found = (await tx.execute(select(policy_version.c.version))).scalars().all()
        return {version: await self.load(version) for version in found}

    async def kept(self) -> tuple[list[Version], list[bytes]]:
        """Every version and every document's bytes, as they are stored, for an export."""
        versions = select(policy_version).order_by(policy_version.c.version)
        bodies = select(policy_document.c.body).order_by(policy_document.c.digest)
        async with self._store.read() as tx:
            found = [
                Version(version=row.version, documents=tuple(json.loads(row.documents)))
                for row in await tx.execute(versions)
            ]
            return found, list((await tx.execute(bodies)).scalars())

    async def history(self, limit: int = 100) -> tuple[Activation, ...]:
        """The latest first."""
        columns = [policy_activation.c[name] for name in Activation.model_fields]
        query = select(*columns).order_by(policy_activation.c.id.desc()).limit(limit)
        async with self._store.read() as tx:
            return tuple(Activation.model_validate(dict(row._mapping)) for row in await tx.execute(query))

    async def _switch(
        self, tx: AsyncConnection, version: str, documents: Sequence[str], by: Principal, reason: str
    ) -> None:
        previous = await self.active_version(tx)
        _must_be_allowed(by, first=previous is None)
        if previous == version:
            return
        why = await self._reason(tx, reason)
        if previous is None:
            await tx.execute(insert(policy_active).values(id=1, version=version))
        else:
            await tx.execute(update(policy_active).values(version=version))
        values = {"version": version, "previous": previous, "author": by.id, "at": self._clock.now()}
        commitment = None if why is None else why.commitment
        await tx.execute(insert(policy_activation).values(**values, reason=commitment))
        listed = tuple(documents) if len(documents) <= MAX_LISTED else ()
        data = PolicyActivated(version=version, previous=previous, documents=listed, by=by, reason=why)
        await self._ledger.append(tx, Draft(type=EntryType.POLICY_ACTIVATED, subject="", data=data))

    async def _reason(self, tx: AsyncConnection, reason: str) -> EvidenceRef | None:
        body = reason.encode()
        if len(body) > MAX_REASON_BYTES:
            raise PolicyError(f"the reason is longer than {MAX_REASON_BYTES} bytes", next_step="shorten it")
        return await self._evidence.put(tx, EvidenceKind.COMMENT, body, "text/plain") if body else None


def _must_be_allowed(by: Principal, *, first: bool) -> None:
    """The daemon may install the first policy; afterwards only somebody with the role may change it."""
    if by.may(Role.OPERATOR) or (first and by.kind is PrincipalKind.DAEMON):
        return
    raise ForbiddenError(
        f"{by.id} may not change the policy",
        cause="it takes the role operator",
        next_step="ask an administrator for the role",
    )


async def _keep(tx: AsyncConnection, version: str, bodies: Sequence[tuple[str, bytes]]) -> None:
    """Stores what is not stored yet; equal digests are equal documents."""
    put = insert_or_ignore(tx)
    for start in range(0, len(bodies), _BATCH):
        rows = [{"digest": digest, "body": body} for digest, body in bodies[start : start + _BATCH]]
        await tx.execute(put(policy_document).on_conflict_do_nothing(), rows)
    listed = canonical([digest for digest, _ in bodies])
    await tx.execute(put(policy_version).values(version=version, documents=listed).on_conflict_do_nothing())


async def _bodies(tx: AsyncConnection, version: str) -> list[tuple[str, bytes]]:
    """Digest and bytes of each document, as stored. They are read and compiled outside the transaction: of a large
    policy that takes seconds."""
    query = select(policy_version.c.documents).where(policy_version.c.version == version)
    listed = (await tx.execute(query)).scalar_one_or_none()
    if listed is None:
        raise NotFoundError(f"there is no policy version {version[:80]}", next_step="watchkeeper policy history")
    digests: list[str] = json.loads(listed)
    found: list[tuple[str, bytes]] = []
    for start in range(0, len(digests), _BATCH):
        some = select(policy_document).where(policy_document.c.digest.in_(digests[start : start + _BATCH]))
        found.extend((row.digest, row.body) for row in await tx.execute(some))
    return found


def _compiled(version: str, bodies: Sequence[tuple[str, bytes]]) -> Policy:
    policy = compile_policy(PolicySet(tuple(_read(digest, body) for digest, body in bodies)))
    if policy.version != version:
        raise _damaged(version)
    return policy


def _read(digest: str, body: bytes) -> PolicyDocument:
    if sha256(body) != digest:
        raise _damaged(digest)
    return document_of(body)


def _damaged(digest: str) -> UnavailableError:
    return UnavailableError(
        f"the stored policy {digest[:80]} is not what its digest says",
        cause="the database was changed by hand or is damaged",
        next_step="activate the policy again from its files",
    )
