"""A counterpart's judge as the conformance kit wants it, and what of a cloud's requests is a write.

The kinds and ids of targets are those of the counterpart: `moto_judge.py`, `gcp.py`, `azure.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Protocol

from tests.testbed.clouds import moto_server
from watchkeeper.core.actions import Target
from watchkeeper.core.model import Scalar

_GCP_READS = re.compile(r"(/operations/[^/]+/wait|/listManagedInstances|/getHealth|[/:]testIamPermissions)$")
_SAFE = ("GET", "HEAD", "OPTIONS")


class Counterpart(Protocol):
    """AwsJudge, GcpFake and AzureFake."""

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]: ...

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None: ...

    def effects(self) -> int: ...


class CloudJudge:
    """`watchkeeper.adapters.kit.Judge` over a counterpart; blocking calls run in a thread."""

    def __init__(self, counterpart: Counterpart) -> None:
        self._counterpart = counterpart

    async def fields(self, target: Target) -> Mapping[str, Scalar]:
        return await asyncio.to_thread(self._counterpart.fields, target.kind, target.id)

    async def write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        await asyncio.to_thread(self._counterpart.write, target.kind, target.id, values)

    async def effects(self) -> int:
        return await asyncio.to_thread(self._counterpart.effects)


def aws_writes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Header names in lower case. Most of AWS reads by POST."""
    form = body if headers.get("content-type", "").startswith("application/x-www-form-urlencoded") else b""
    return moto_server.writes(moto_server.operation(method, path, headers.get("x-amz-target", ""), form))


def gcp_writes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Some of Google's reads are POSTs."""
    return method not in _SAFE and not _GCP_READS.search(path.partition("?")[0])


def azure_writes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
    return method not in _SAFE
