"""Values that are secret or personal because of the name before them: `DB_PASSWORD=`, `"client_secret": `, `Cookie: `.

A name that always means a secret gives away any value; one that may mean something else (`token`, `secret`) only a
value that looks random, so that a model's tokens and words survive. Numbers, digests and UUIDs after such a name are
left alone, and so is what is no value at all (`null`, `string`, `${VARIABLE}`). A name it does not know it passes over.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from watchkeeper.ledger.evidence.shapes import Span, View

MAX_VALUE = 8192
MAX_JUDGED = 65_536
NAME_BYTES = 48

_KEYS = (
    rb"api|access|secret|master|admin|private|signing|account|encryption|shared|sharedaccess|storage|subscription"
    rb"|service|auth|functions?|license|hmac|jwt|ssh|deploy|salt|litellm"
)
_TOKENS = (
    rb"access|auth|refresh|id|session|security|bearer|api|user|bot|app|deploy|personal|csrf|xsrf|oauth|registration"
    rb"|verification|vault|private|job|gitlab|github|slack|hf|webhook|watchkeeper|npm|pypi|device"
)
_STRONG = (
    rb"passw(?:or)?d|passphrase|(?<![a-z])pass|(?<![a-z])pwd|bind_?pw"
    rb"|(?<![a-z])(?:%(keys)s)[_.-]?(?:(?:access|api|account)[_.-]?)?key"
    rb"|(?<![a-z])(?:%(tokens)s)[_.-]?token"
    rb"|(?<![a-z])(?:client|app|consumer|shared|webhook|signing|jwt|api|oauth|master|cookie|session)[_.-]?secret"
) % {b"keys": _KEYS, b"tokens": _TOKENS}
_WEAK = rb"(?<![a-z])(?:secret|token|auth|credentials?|sig|signature)"
_ADDRESS = (
    rb"(?<![a-z])(?:x-forwarded-for|x-real-ip|cf-connecting-ip|true-client-ip|x-client-ip|forwarded:\s?for"
    rb"|client[_.-]?(?:ip|addr|address)|remote[_.-]?(?:ip|addr|address)|user[_.-]?ip"
    rb"|requester[_.-]?ip[_.-]?address|ip[_.-]?address)"
)
_PHONE = rb"(?<![a-z])(?:phone|mobile|msisdn|telephone|whatsapp|fax)(?:[_ -]?(?:number|no|nr))?"
_QUOTE = rb"\\{0,7}[\"'`]"
_AFTER = re.compile(
    rb"(?:[_-]?\d{1,2})?(?P<q>%(quote)s)?(?:\s{0,8}(?::=|=>|[:=])\s{0,8}|%%3[AaDd]|(?<![\"'`])>)b?(?P<o>%(quote)s)?"
    % {b"quote": _QUOTE}
)
"""What stands between a name and its value; a value whose name is quoted is a secret only where it is quoted too."""
_BARE = re.compile(rb"[^\s\"'`\\,;&}<>]{4,512}")
_COOKIE = re.compile(rb"[^\s=;\"']{1,128}=[^\r\n\"'\\]{1,8192}")
_NUMBER = re.compile(rb"[+(]?\d[\d ().+-]{5,20}\d")
_ADDRESSES = re.compile(rb"[0-9a-fA-F:.\[\]]{3,45}(?:,\s{0,2}[0-9a-fA-F:.\[\]]{3,45}){0,8}")
_NO_SECRET = re.compile(
    rb"(?i)(?:null|none|nil|true|false|undefined|string|text|required|optional|missing|invalid|incorrect|expired|changed"
    rb"|wrong|empty|unset|not[_ -]?set|redacted|hidden|masked|default|unknown|(.)\1{3,})"
    rb"|[$%%]?[{(<].{0,120}[})>]|\$\w{1,64}|%\w{1,64}%|\[redacted:.{0,40}"
    rb"|/(?:home|run|etc|var|usr|opt|srv|tmp|root|app|mnt|proc|data|secrets?)(?:/.{0,200})?"
)
_DIGEST = re.compile(rb"(?i)(?:sha\d{1,3}:|hmac-sha256:)?[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARTS = re.compile(rb"[^A-Za-z0-9+=]")
_MIXED = re.compile(rb"(?=.{0,511}\d)(?=.{0,511}[A-Za-z])")


def _secret(value: bytes) -> bool:
    return len(value) >= 4 and not _NO_SECRET.fullmatch(value) and not _DIGEST.fullmatch(value)


def _random(value: bytes) -> bool:
    """Whether a part of it is no word, name or date: at least 16 letters and digits together, of many kinds."""
    parts = _PARTS.split(value) if _secret(value) and len(value) <= 512 else ()
    return any(len(part) >= 16 and len(set(part)) >= 9 and _MIXED.match(part) for part in parts)


def _addresses(value: bytes) -> bool:
    first = value.split(b",")[0].strip(b" []").decode("ascii", "replace")
    try:
        ipaddress.ip_address(first.rsplit(":", 1)[0] if first.count(":") == 1 else first)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Label:
    """A family of names. Each ends in one of `stems`; `unquoted` is what a value without quotes looks like, and `gives`
    says whether a value is a secret."""

    kind: str
    stems: tuple[bytes, ...]
    names: re.Pattern[bytes]
    unquoted: re.Pattern[bytes]
    gives: Callable[[bytes], bool]

    def find(self, view: View) -> Iterator[Span]:
        """In the body itself, not in its view: how often a quote is escaped says which one closes the value."""
        judged = 0
        for stem in self.stems:
            at = view.lower.find(stem)
            while at >= 0:
                end = at + len(stem)
                value = self._value(view, end)
                if value is not None:
                    judged += value[1] - value[0]
                    # who makes us judge the same bytes again and again loses them
                    if judged > MAX_JUDGED + 2 * len(view.body) or self.gives(view.body[slice(*value)]):
                        yield Span(*value, self.kind)
                        end = value[1]
                at = view.lower.find(stem, end)

    def _value(self, view: View, end: int) -> tuple[int, int] | None:
        """Where the value is, if what ends here is a name of the family with a value."""
        after = _AFTER.match(view.body, end)
        if after is None or self.names.search(view.lower, max(0, end - NAME_BYTES), end) is None:
            return None
        start, opened = after.end(), after["o"]
        if opened is not None:
            closing = _closing(view.body, start, opened)
            if closing is not None:
                return start, closing
        elif after["q"] is not None:
            return None  # a JSON number, null or object
        bare = self.unquoted.match(view.body, start)
        return None if bare is None else bare.span()


def _closing(body: bytes, start: int, quote: bytes) -> int | None:
    """Where the value ends: at the first quote of the same kind that is not escaped once more. None: it was cut."""
    at = body.find(quote, start, start + MAX_VALUE)
    while at > start and body[at - 1] == 0x5C:
        at = body.find(quote, at + 1, start + MAX_VALUE)
    return None if at < 0 else at


def _label(kind: str, stems: str, names: bytes, unquoted: re.Pattern[bytes], gives: Callable[[bytes], bool]) -> Label:
    pattern = re.compile(rb"(?:" + names + rb")\Z")
    return Label(kind, tuple(stem.encode() for stem in stems.split()), pattern, unquoted, gives)


LABELS = (
    _label("cookie", "cookie cookie2", rb"(?<![a-z])(?:set-)?cookie2?", _COOKIE, lambda value: b"=" in value),
    _label("assigned", "password passwd passphrase pass pwd bindpw bind_pw key token secret", _STRONG, _BARE, _secret),
    _label("assigned", "secret token auth credential credentials sig signature", _WEAK, _BARE, _random),
    _label("client-address", "for ip addr address", _ADDRESS, _ADDRESSES, _addresses),
    _label(
        "phone",
        "phone mobile msisdn telephone whatsapp fax number no nr",
        _PHONE,
        _NUMBER,
        lambda value: _NUMBER.fullmatch(value) is not None,
    ),
)
"""In the order in which they are asked."""
