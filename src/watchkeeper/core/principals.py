"""Who asks. People and machines are told apart by how they were authenticated; a model is never a principal."""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.core.model import Contract


class PrincipalKind(StrEnum):
    PERSON = "person"
    SERVICE = "service"
    DAEMON = "daemon"


class Role(StrEnum):
    VIEWER = "viewer"
    INGEST = "ingest"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"


class Principal(Contract):
    """`id` is an opaque handle (`demo-operator`), not an e-mail address."""

    schema_name = "watchkeeper.dev/principal/v1"
    id: str
    kind: PrincipalKind
    roles: tuple[Role, ...]
    authenticated_by: str
    """`token`, `local` or `internal`."""

    def may(self, *roles: Role) -> bool:
        return Role.ADMIN in self.roles or any(role in self.roles for role in roles)
