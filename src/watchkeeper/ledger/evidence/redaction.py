"""Takes secrets and personal data out of a body before it is stored.

Known values (from the settings) are found wherever they stand, plain or encoded; shapes, labels and the detectors of
libraries find what credentials, e-mail addresses, phone, card, account and social security numbers look like. It cannot
know a secret that has neither shape nor label and was never registered, nor names and what else is personal in free
text. Everything it runs reads a body a bounded number of times: a hostile body costs no more than its length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from pydantic import SecretStr

from watchkeeper.ledger.evidence.detectors import DETECTORS
from watchkeeper.ledger.evidence.known import KNOWN, KnownValues
from watchkeeper.ledger.evidence.labels import LABELS
from watchkeeper.ledger.evidence.shapes import CREDENTIALS, Span, View, emails

MAX_ROUNDS = 6
"""What is taken out may uncover something: it is looked again until nothing is found."""

SURE_BYTES = 12
_PLACEHOLDER = re.compile(rb"\[redacted:[a-z-]{1,24}\]")


class Redactor:
    """Holds the secret values it looks for; make one from the settings and share it."""

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        self._known = KnownValues(secret.get_secret_value() for secret in secrets)

    def redact(self, body: bytes) -> bytes:
        """The body with `[redacted:KIND]` in place of what was found. The same body gives the same; what is JSON
        stays JSON; redacting again changes nothing."""
        clean = body
        for _ in range(MAX_ROUNDS):
            spans = self._spans(View.of(clean))
            if not spans:
                break
            clean = _replaced(clean, spans)
        if clean is not body and _is_json(body) and not _is_json(clean):
            # a known value went across the marks of JSON: what is left is kept as one text
            return self.redact(json.dumps(clean.decode("utf-8", "replace")).encode())
        return clean

    def holds_known(self, body: bytes) -> bool:
        """Whether a known secret value stands in it, in any spelling; short ones are not looked for, since who chose
        a word for a secret must not be kept from recording."""
        return any(span.end - span.start >= SURE_BYTES for span in self._known.find(body))

    def _spans(self, view: View) -> list[Span]:
        """What to replace, in order and apart: of two that overlap, the one that is asked for first."""
        taken = bytearray(len(view.body))
        found: list[Span] = []
        for span in self._found(view):
            if taken.find(1, span.start, span.end) < 0 and _says_anything(span, view.body):
                taken[span.start : span.end] = b"\1" * (span.end - span.start)
                found.append(span)
        return sorted(found)

    def _found(self, view: View) -> Iterable[Span]:
        yield from self._known.find(view.body)
        for shape in CREDENTIALS:
            yield from shape.find(view)
        for label in LABELS:
            yield from label.find(view)
        for detector in DETECTORS:
            yield from detector(view)
        yield from emails(view)

    def __repr__(self) -> str:
        return "Redactor(...)"


def _says_anything(span: Span, body: bytes) -> bool:
    """False for what holds nothing but what was put there in the place of a secret, and marks around it. A known value
    may be made of marks alone."""
    rest = _PLACEHOLDER.sub(b"", body[span.start : span.end])
    return bool(rest) if span.kind == KNOWN else any(byte.isalnum() for byte in rest.decode("latin-1"))


def _replaced(body: bytes, spans: list[Span]) -> bytes:
    parts, at = [], 0
    for span in spans:
        parts += [body[at : span.start], f"[redacted:{span.kind}]".encode()]
        at = span.end
    return b"".join((*parts, body[at:]))


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
