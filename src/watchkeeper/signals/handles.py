"""Names that give away a person or a secret, replaced on their way in: a subject's id goes into entries, which nobody
can erase.

An agent, run, team, tool, service, pod or host whose name holds an e-mail address, a phone number or a credential gets
an opaque handle, an HMAC under this installation's salt: the same name has the same handle, and without the salt
nothing can be tested against it. Names in the settings are the owner's own and stay. A person's plain name is not
recognised.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from watchkeeper.core.signals import Call, Event, Sample, Signal, Span
from watchkeeper.core.subjects import Subject, SubjectKind

REMEMBERED = 50_000
SYSTEMS = (
    *(SubjectKind.KEY, SubjectKind.MODEL, SubjectKind.DEPLOYMENT, SubjectKind.PROVIDER, SubjectKind.GATEWAY),
    SubjectKind.PROMPT_VERSION,
)
"""What is named by hash or by the gateway's own configuration: it must be found there again to be acted upon."""

_FIELDS = {
    Span: ("run_id", "service", "environment", "agent", "tool"),
    Call: ("team", "service", "environment", "agent"),
}
_OPAQUE = re.compile(r"[0-9a-f-]{0,64}|[a-z]{1,8}_[0-9a-f]{8,64}")


class Redacts(Protocol):
    def redact(self, body: bytes) -> bytes: ...


class Handles:
    def __init__(self, salt: bytes, redactor: Redacts, own: frozenset[str] = frozenset()) -> None:
        self._salt, self._redactor, self._own = salt, redactor, own
        self._named = lru_cache(REMEMBERED)(self._handle)

    def name(self, name: str) -> str:
        """The name, or its handle."""
        return name if _OPAQUE.fullmatch(name) else self._named(name)

    def applied(self, signals: Sequence[Signal]) -> list[Signal]:
        return [self._applied(signal) for signal in signals]

    def _handle(self, name: str) -> str:
        raw = name.encode("utf-8", "surrogatepass")
        if name in self._own or self._redactor.redact(raw) == raw:
            return name
        return "anon-" + hmac.new(self._salt, raw, hashlib.sha256).hexdigest()[:24]

    def _applied(self, signal: Signal) -> Signal:
        if isinstance(signal, (Sample, Event)):
            subject = signal.subject
            named = subject.id if subject.kind in SYSTEMS else self.name(subject.id)
            if named == subject.id:
                return signal
            return signal.model_copy(update={"subject": Subject(kind=subject.kind, id=named)})
        held = {field: getattr(signal, field) for field in _FIELDS[type(signal)]}
        changed = {field: named for field, value in held.items() if (named := self.name(value)) != value}
        return signal.model_copy(update=changed) if changed else signal
