"""Every policy version that was ever in force, beside an exported log: what its decisions are made again with.

`policy-documents.jsonl` holds one document a line, in the bytes whose SHA-256 is its digest; `policies.jsonl` one
version a line, naming its documents. Nothing in them is believed: a line is known by its own digest, and what is
compiled must have the version that the decision names. An export can still lack a version: that is `not_kept`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.digest import sha256
from watchkeeper.core.errors import NotFoundError, VerificationError, WatchkeeperError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.exports.jsonlines import lines
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.model import document_of

VERSIONS, DOCUMENTS = "policies.jsonl", "policy-documents.jsonl"
MAX_LINE = 16_777_216


class Version(Contract):
    """A policy version and the digests of its documents, in order of their names."""

    version: str
    documents: tuple[str, ...]


class KeptPolicies:
    """Compiles a version when it is first asked for, and holds it from then on."""

    def __init__(self, versions: Mapping[str, Version], bodies: Mapping[str, bytes], place: str = "") -> None:
        self._versions, self._bodies, self._place = versions, bodies, place
        self._compiled: dict[str, Policy] = {}

    def versions(self) -> tuple[str, ...]:
        return tuple(sorted(self._versions))

    def load(self, version: str) -> Policy:
        """Raises NotFoundError for a version that is not kept, VerificationError for one that is not what it says."""
        found = self._compiled.get(version)
        if found is None:
            found = self._compiled[version] = self._compile(version)
        return found

    def _compile(self, version: str) -> Policy:
        listed = self._versions.get(version)
        if listed is None:
            raise NotFoundError(
                f"the policy version {version[:80]} is not kept", next_step="export again: watchkeeper ledger export"
            )
        try:
            policy = compile_policy(PolicySet(tuple(document_of(self._bodies[each]) for each in listed.documents)))
        except (KeyError, TypeError, ValueError, WatchkeeperError) as error:
            raise _damaged(version, self._place) from error
        if policy.version != version:
            raise _damaged(version, self._place)
        return policy


def policy_files(versions: Iterable[Version], bodies: Iterable[bytes]) -> tuple[tuple[str, bytes], ...]:
    """Names and contents of both files; `bodies` are the documents' canonical bytes."""
    rows = ((VERSIONS, map(canonical_model, versions)), (DOCUMENTS, bodies))
    return tuple((name, b"".join(row + b"\n" for row in each)) for name, each in rows)


def read_policies(directory: Path) -> KeptPolicies:
    """Those of an export; one of a version that did not keep them has none."""
    path = directory / VERSIONS
    if not path.exists():
        return KeptPolicies({}, {})
    try:
        versions = [Version.model_validate_json(line) for line in lines(path, MAX_LINE)]
    except ValidationError as error:
        raise _damaged("list", str(path)) from error
    bodies = {sha256(line): line for line in lines(directory / DOCUMENTS, MAX_LINE)}
    return KeptPolicies({each.version: each for each in versions}, bodies, str(path))


def _damaged(version: str, place: str) -> VerificationError:
    return VerificationError(
        f"the exported policy {version[:80]} is not what its digest says",
        place=place,
        cause="the export was edited or is not complete",
        next_step="export again: watchkeeper ledger export",
    )
