"""The spellings in which a known secret value may stand in a body.

Plain, hexadecimal, in a URL (once or twice encoded), in base64 at any offset, and each of these inside JSON inside
JSON. It cannot find a value that was hashed, encrypted, compressed or broken over lines.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from watchkeeper.ledger.evidence.shapes import Span

KNOWN = "secret"
"""The kind of what is found here."""
MIN_SECRET = 6
"""Shorter known values would redact ordinary words."""

_NESTED = 3
"""How deep JSON stands in JSON: a body in a log line in an envelope."""


class KnownValues:
    """Finds given values wherever they stand. Bodies that hold none cost one plain search for each spelling."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = {form for value in values if len(value) >= MIN_SECRET for form in _forms(value)}
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def find(self, body: bytes) -> Iterator[Span]:
        here = [form for form in self._forms if form in body]
        if here:
            # the longest first: a value that holds another one is taken whole
            for match in re.finditer(b"|".join(map(re.escape, here)), body):
                yield Span(match.start(), match.end(), KNOWN)


def _forms(value: str) -> set[bytes]:
    raw = value.encode("utf-8", "surrogatepass")
    once = {quote(raw, safe=""), quote_plus(raw), quote(raw)}
    urls = once | {quote(form, safe="") for form in once}
    urls |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in urls}
    texts = {value, raw.hex(), raw.hex().upper(), *urls}
    return {form.encode("utf-8", "surrogatepass") for text in texts for form in _in_json(text)} | set(_base64(raw))


def _in_json(text: str) -> set[str]:
    found, layer = {text}, {text}
    for _ in range(_NESTED):
        layer = {json.dumps(each, ensure_ascii=ascii_only)[1:-1] for each in layer for ascii_only in (True, False)}
        # as Go and PHP spell it, who escape what HTML or a script tag would read
        layer |= {each.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") for each in layer}
        layer |= {re.sub(r"(?<!\\)/", r"\\/", each) for each in layer}
        found |= layer
    return found


def _base64(raw: bytes) -> Iterator[bytes]:
    """At each of the three offsets, the characters that the value alone decides: it may stand in a longer text."""
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        text = base64.b64encode(bytes(before) + raw)[first:end]
        if len(text) > MIN_SECRET:
            yield text
            yield text.replace(b"+", b"-").replace(b"/", b"_")
            yield text.replace(b"/", b"\\/")
            yield text.replace(b"+", b"%2B").replace(b"/", b"%2F")
