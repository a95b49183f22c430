"""What libraries know better than we: the tokens of many services, and numbers with check digits.

Of `detect-secrets` the detectors that are a shape and nothing else are used, through the patterns they publish; its
keyword, entropy and label detectors are not (they take ordinary telemetry for secrets), nor those that read a hostile
line in the square of its length (docs/decisions/0018-detectors.md). `python-stdnum` and `phonenumbers` judge numbers
that look like those of cards, accounts, social security and phones: one that was mistyped, or is of a country they do
not know, is not found.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import phonenumbers
from detect_secrets.plugins import (
    aws,
    azure_storage_key,
    discord,
    github_token,
    gitlab_token,
    mailchimp,
    pypi_token,
    sendgrid,
    slack,
    square_oauth,
    stripe,
    telegram_token,
    twilio,
)
from stdnum import iban, luhn
from stdnum.us import ssn

from watchkeeper.ledger.evidence.shapes import Span, View

Detector = Callable[[View], Iterator[Span]]

MAX_JUDGED = 256
"""How many numbers of a kind are judged in one body; beyond it what looks like one is taken for one."""

_WORD = re.compile(rb"\w")
_NEITHER = re.compile(rb"[^A-Za-z0-9+]")
_CARD = re.compile(rb"\d{4}(?:([ -]?)\d{4}\1\d{4}\1\d{4}|([ -]?)\d{6}\2\d{4,5})(?![\w-]|\.\d)")
_IBAN = re.compile(rb"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![\w-])")
_SSN = re.compile(rb"\d{3}-\d{2}-\d{4}(?![\w-]|\.\d)")
_ABROAD = re.compile(rb"\+\d(?:[ ().-]{0,2}\d){6,14}(?![\w-]|[.:]\d)")
_LOCAL = re.compile(rb"\d{3}-\d{4}(?![\w-]|\.\d)")
_AREA = re.compile(rb"(?<![\w.)-])(?:\(\d{3}\) ?|\d{3}-)\Z")
_BEFORE = re.compile(rb"[\w.:+-]")
_KEYED = re.compile(rb"[\"']\s{0,4}:\s{0,4}\Z")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Service:
    """One pattern of the library, over bytes."""

    kind: str
    hints: tuple[bytes, ...]
    pattern: re.Pattern[bytes]

    def find(self, view: View) -> Iterator[Span]:
        if any(hint in view.text for hint in self.hints):
            for match in self.pattern.finditer(view.text):
                # never a part of a longer word: a digest may hold what looks like a token
                start, end = match.span()
                if not (start and _WORD.match(view.text, start - 1)) and not _WORD.match(view.text, end):
                    yield Span(*match.span(), self.kind)


def _cards(view: View) -> Iterator[Span]:
    found = _judged(_alone(_CARD, view), lambda text: _issued(text) and luhn.is_valid(text))
    texts = list(_strings(view.body)) if found else []
    return (Span(*span, "card") for span in found if not _bare_number(view.body, texts, *span))


def _judged(found: Iterator[tuple[int, int, str]], judge: Callable[[str], bool]) -> list[tuple[int, int]]:
    return [(start, end) for n, (start, end, text) in enumerate(found) if n >= MAX_JUDGED or judge(text)]


def _alone(pattern: re.Pattern[bytes], view: View) -> Iterator[tuple[int, int, str]]:
    """Every match that is not the end of something longer, with its letters and digits."""
    for match in pattern.finditer(view.text):
        if not match.start() or not _BEFORE.match(view.text, match.start() - 1):
            yield *match.span(), _NEITHER.sub(b"", match[0]).decode()


def _issued(digits: str) -> bool:
    """Whether a network gives such numbers: most identifiers begin otherwise."""
    if len(digits) == 16:
        mastercard = "51" <= digits[:2] <= "55" or "2221" <= digits[:4] <= "2720"
        return digits[0] == "4" or mastercard or digits[:4] == "6011" or digits[:2] in ("35", "62", "65")
    return digits[:2] in (("34", "37") if len(digits) == 15 else ("36", "38", "30"))


def _ibans(view: View) -> Iterator[Span]:
    for n, match in enumerate(_IBAN.finditer(view.text)):
        # a word may follow, with a blank like those inside: the longest part that is an account's number
        text = match[0].decode()
        while len(text) >= 15 and n < MAX_JUDGED and not iban.is_valid(text):
            text = text.rpartition(" ")[0]
        if len(text) >= 15 and not (match.start() and _BEFORE.match(view.text, match.start() - 1)):
            yield Span(match.start(), match.start() + len(text), "iban")


def _ssns(view: View) -> Iterator[Span]:
    return (Span(*span, "ssn") for span in _judged(_alone(_SSN, view), ssn.is_valid))


def _phones(view: View) -> Iterator[Span]:
    found = [*_judged(_alone(_ABROAD, view), _is_phone), *_judged(_american(view), _is_phone)]
    return (Span(*span, "phone") for span in found)


def _american(view: View) -> Iterator[tuple[int, int, str]]:
    """Numbers as they are written in North America, without a country's code."""
    for match in _LOCAL.finditer(view.text):
        area = _AREA.search(view.text, max(0, match.start() - 7), match.start())
        if area is not None:
            yield area.start(), match.end(), (area[0] + match[0]).decode()


def _is_phone(text: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, "US"))
    except phonenumbers.NumberParseException:
        return False


def _strings(body: bytes) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _STRING.finditer(body))


def _bare_number(body: bytes, texts: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether it is a number of JSON rather than text: an identifier, as far as we can know."""
    before, after = body[max(0, start - 12) : start], body[end : end + 8].lstrip()[:1]
    at = bisect_right(texts, (start, len(body))) - 1
    quoted = at >= 0 and texts[at][0] < start < texts[at][1]
    keyed = _KEYED.search(before) is not None  # in JSON in a text too
    return after in (b",", b"]", b"}") and (keyed or (not quoted and before.rstrip()[-1:] in (b":", b",", b"[")))


def _services() -> tuple[Detector, ...]:
    known = (
        ("aws-key", "AKIA ASIA ABIA ACCA A3T", aws.AWSKeyDetector),
        ("azure-key", "AccountKey=", azure_storage_key.AzureStorageKeyDetector),
        ("discord-token", ".", discord.DiscordBotTokenDetector),
        ("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", github_token.GitHubTokenDetector),
        ("gitlab-token", "gl GR1348941", gitlab_token.GitLabTokenDetector),
        ("mailchimp-key", "-us", mailchimp.MailchimpDetector),
        ("pypi-token", "pypi-", pypi_token.PypiTokenDetector),
        ("sendgrid-key", "SG.", sendgrid.SendGridDetector),
        ("slack-token", "xox https://hooks", slack.SlackDetector),
        ("square-secret", "sq0csp-", square_oauth.SquareOAuthDetector),
        ("stripe-key", "k_live_", stripe.StripeDetector),
        ("telegram-token", ":", telegram_token.TelegramBotTokenDetector),
        ("twilio-key", "AC SK", twilio.TwilioKeyDetector),
    )
    return tuple(
        _Service(
            kind, tuple(hints.encode().split()), re.compile(pattern.pattern.encode(), pattern.flags & ~re.UNICODE)
        ).find
        for kind, hints, detector in known
        for pattern in detector.denylist
        if '"' not in pattern.pattern  # one that looks for a name before a quoted value: labels.py does that
    )


DETECTORS: tuple[Detector, ...] = (*_services(), _cards, _ibans, _ssns, _phones)
"""In the order in which they are asked."""
