"""What `adapters check` finds: for each configured target, which permissions its credential has and lacks.

It asks each target's own authoriser where that has a way to be asked, and changes nothing. A target that does not
answer is told, and stops no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watchkeeper.adapters.contract import Adapter, Grip, Permitted, Registry
from watchkeeper.adapters.recorder import Call, CallRecorder
from watchkeeper.core.actions import Intent
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.entries import CallRecorded
from watchkeeper.core.errors import NotFoundError, WatchkeeperError, suggest
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.daemon.targets import adapters_of
from watchkeeper.ledger.evidence.redaction import Redactor

if TYPE_CHECKING:
    from watchkeeper.daemon.settings import Settings


@dataclass(frozen=True)
class Checked:
    """One adapter. `error` when it could not be asked."""

    adapter: str
    found: tuple[Permitted, ...] = ()
    error: WatchkeeperError | None = None

    @property
    def lacks(self) -> bool:
        return self.error is not None or any(each.grip is Grip.MISSING for each in self.found)

    def as_json(self) -> dict[str, object]:
        told: dict[str, object] = {"adapter": self.adapter, "permissions": [each.model_dump() for each in self.found]}
        return told if self.error is None else told | {"error": self.error.what, "cause": self.error.cause}

    def lines(self) -> Iterator[tuple[str, str]]:
        """What to print, and in which style."""
        if self.error is not None:
            yield f"failed  {self.adapter}: {self.error.diagnostics()}", "red"
            return
        granted = [each for each in self.found if each.grip is Grip.GRANTED]
        for each in self.found:
            if each.grip is Grip.MISSING:
                yield f"missing {self.adapter}: {each.permission}", "red"
            elif each.grip is Grip.UNKNOWN:
                yield f"unknown {self.adapter}: {each.permission} (it cannot be asked without trying)", "yellow"
        yield f"ok      {self.adapter}: {len(granted)} of {len(self.found)} permissions granted", "green"


class NoSink:
    """Outside of an incident no call is recorded."""

    async def begin(self, call: Call, media_type: str) -> EvidenceRef:
        raise NotImplementedError

    async def finish(self, call: CallRecorded, reply: bytes | None, media_type: str) -> None:
        raise NotImplementedError


def unrecorded(settings: Settings) -> Registry:
    """The adapters for reads outside of any incident."""
    clock = SystemClock()
    return adapters_of(settings, CallRecorder(NoSink(), Redactor(), clock), clock)


async def checked(settings: Settings, names: Collection[str], intents: frozenset[Intent]) -> list[Checked]:
    """Raises NotFoundError for a name that is not configured."""
    adapters = unrecorded(settings)
    try:
        known = adapters.names()
        for name in names:
            if name not in known:
                raise NotFoundError(
                    f"no target is called {name!r}{suggest(name, known)}",
                    cause=f"configured are: {', '.join(known) or 'none'}",
                    next_step="watchkeeper config show",
                )
        return [await _one(adapters.get(name), intents) for name in (names or known)]
    finally:
        await adapters.close()


async def _one(adapter: Adapter, intents: frozenset[Intent]) -> Checked:
    capabilities = [each for each in adapter.capabilities() if not intents or each.intent in intents]
    wanted = tuple(dict.fromkeys(name for each in capabilities for name in each.permissions))
    try:
        return Checked(adapter.name, await adapter.permitted(wanted))
    except WatchkeeperError as error:
        return Checked(adapter.name, error=error)
