"""Takes secrets and e-mail addresses out of a body before it is stored.

Known values (from the settings) are found wherever they stand, plain or encoded; patterns find the shapes of common
credentials. It cannot know a secret that has no shape and was never registered, nor personal data in free text.
Every pattern has bounded repeats and reads a body once: a hostile body costs no more than its length.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from pydantic import SecretStr

MIN_SECRET = 6
"""Shorter known values would redact ordinary words."""

_LABELS = (
    rb"api[_-]?key|(?:secret|master|admin|private|signing|account)[_-]?(?:access[_-]?)?key|access[_-]?token"
    rb"|auth[_-]?token|refresh[_-]?token|client[_-]?secret|password|passwd"
)
_QUOTE = rb"\\{0,3}[\"']"
_ASSIGNED = (
    # a quoted label needs a quoted value, so that a number in JSON is left alone
    rb"(?i)(?<![a-z0-9])((?:%(labels)s)(?:%(quote)s\s{0,4}[:=]\s{0,4}%(quote)s|\s{0,4}[:=]\s{0,4}(?:%(quote)s)?))"
    rb"(?!\[redacted:)[^\s\"'\\,;&}]{6,512}"
) % {b"labels": _LABELS, b"quote": _QUOTE}
_PATTERNS: tuple[tuple[str, bytes, re.Pattern[bytes]], ...] = (
    (
        "private-key",
        b"",
        re.compile(rb"-----BEGIN [A-Z ]{0,24}PRIVATE KEY-----[^-]{1,16384}-----END [A-Z ]{0,24}PRIVATE KEY-----"),
    ),
    ("signing-key", b"", re.compile(rb"PRIVATE\+KEY\+[^\s+\"']{1,256}\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{40,64}")),
    ("jwt", b"", re.compile(rb"(?<![\w-])eyJ[\w-]{8,4096}\.eyJ[\w-]{8,8192}\.[\w-]{8,4096}")),
    ("bearer", rb"\1", re.compile(rb"(?i)(?<![\w-])(bearer\s{1,4})[\w.~+/=-]{12,8192}")),
    (
        "authorization",
        rb"\1",
        re.compile(
            rb"(?i)(authorization(?:%s)?\s{0,4}[:=]\s{0,4}(?:%s)?basic\s{1,4})[\w+/=-]{4,8192}" % (_QUOTE, _QUOTE)
        ),
    ),
    ("api-key", b"", re.compile(rb"(?<![\w-])sk-[\w-]{12,512}")),
    ("aws-key", b"", re.compile(rb"(?<!\w)(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?!\w)")),
    ("github-token", b"", re.compile(rb"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_\w{30,255})")),
    ("google-key", b"", re.compile(rb"(?<!\w)AIza[\w-]{35}(?![\w-])")),
    ("slack-token", b"", re.compile(rb"(?<!\w)xox[abeoprs]-[\w-]{10,255}")),
    ("password", rb"\1:", re.compile(rb"(?<=://)([^\s:/@\"'\\]{0,128}):[^\s/@\"'\\]{1,256}(?=@)")),
    ("assigned", rb"\1", re.compile(_ASSIGNED)),
    ("email", b"", re.compile(rb"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")),
)
"""Kind, what is kept of the match (a scheme, a user, a label), and the shape."""


class Redactor:
    """Holds the secret values it looks for; make one from the settings and share it."""

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret.get_secret_value())}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile(b"|".join(map(re.escape, ordered))) if ordered else None

    def redact(self, body: bytes) -> bytes:
        """The body with `[redacted:KIND]` in place of what was found; JSON stays JSON."""
        if self._known is not None:
            body = self._known.sub(b"[redacted:secret]", body)
        for kind, kept, pattern in _PATTERNS:
            body = pattern.sub(kept + f"[redacted:{kind}]".encode(), body)
        return body

    def __repr__(self) -> str:
        return "Redactor(...)"


def _forms(value: str) -> set[bytes]:
    """How a secret may stand in a body: as it is, in JSON, in a URL, in base64."""
    if len(value) < MIN_SECRET:
        return set()
    raw = value.encode()
    return {
        raw,
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        quote(value, safe="").encode(),
        base64.b64encode(raw).rstrip(b"="),
        base64.urlsafe_b64encode(raw).rstrip(b"="),
    }
