"""The shapes of credentials and e-mail addresses, and where in a body they stand.

A shape is tried only where what it begins with stands, and its repeats are bounded, so that a hostile body costs no
more than its length. Shapes read a view of the body in which the escapes of JSON are
blanks: a pasted `.env` file in a prompt has `\\n` before its names. A secret that has no shape is not found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """What is replaced, from `start` up to, not including, `end`."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class View:
    """A body to look at: `text` is as long as the body and has blanks for escapes, `lower` is it in small letters."""

    body: bytes
    text: bytes
    lower: bytes

    @classmethod
    def of(cls, body: bytes) -> View:
        text = _ESCAPE.sub(lambda escape: b" " * len(escape[0]), body) if b"\\" in body else body
        return cls(body, text, text.lower())


@dataclass(frozen=True, slots=True)
class Shape:
    """`pattern` is tried where one of `starts` (in small letters) stands, if `command` was named before it on the line.
    Its group `v` is the secret; if there is none, all of it."""

    kind: str
    starts: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    command: bytes = b""

    def find(self, view: View) -> Iterator[Span]:
        group = "v" if "v" in self.pattern.groupindex else 0
        for start in self.starts:
            at = view.lower.find(start)
            while at >= 0:
                match = self.pattern.match(view.text, at)
                if match is not None and self._named(view, at):
                    yield Span(*match.span(group), self.kind)
                at = view.lower.find(start, at + 1 if match is None else match.end())

    def _named(self, view: View, at: int) -> bool:
        if not self.command:
            return True
        return view.lower.find(self.command, max(0, at - LINE_BYTES, view.text.rfind(b"\n", 0, at)), at) >= 0


LINE_BYTES = 512
"""How far before an option its command may stand."""

_ESCAPE = re.compile(rb"(?<!\\)\\++(?:u[0-9a-fA-F]{4}|[nrtbf])")
_START = rb"(?:(?<![\w-])|(?<=%[0-9a-fA-F]{2}))"
"""Where a token may begin: not in the middle of a word, but after a URL's escape."""


def _shape(kind: str, starts: tuple[str, ...], pattern: bytes, command: str = "") -> Shape:
    return Shape(kind, tuple(start.encode() for start in starts), re.compile(pattern), command.encode())


def _tokens(kind: str, *kinds: tuple[str, str]) -> Iterator[Shape]:
    """A token for each pair of its prefix and the pattern of what follows it."""
    for prefix, rest in kinds:
        yield _shape(kind, (prefix.lower(),), _START + re.escape(prefix).encode() + rest.encode() + rb"(?![\w-])")


_AUTHORIZATION = rb"(?i)authorization\"?\s{0,8}[:=,]\s{0,8}\"?"
_KEY_BEGIN = rb"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
_KEY_END = rb"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"

CREDENTIALS: tuple[Shape, ...] = (
    _shape("bearer", ("bearer",), rb"(?i)(?<![\w-])bearer(?:\s{1,4}|%20|\+)(?P<v>[\w.~+/=-]{12,8192})"),
    _shape(
        "private-key",
        ("-----begin",),
        # up to its end; one that was cut has none
        _KEY_BEGIN + rb"(?:(?:[^-]|-(?!----)){0,16384}" + _KEY_END + rb"|[A-Za-z0-9+/=\s]{0,16384}(?<!\s))",
    ),
    _shape(
        "private-key",
        ("private-lines:",),
        rb"Private-Lines: \d{1,3}\s{1,4}(?P<v>(?:[A-Za-z0-9+/=]{1,76}\s{1,4}){1,99})",
    ),
    _shape("signing-key", ("private+key+",), rb"PRIVATE\+KEY\+[^\s+\"']{1,256}\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{40,64}"),
    _shape(
        "jwt", ("eyj",), _START + rb"eyJ[\w-]{8,4096}\.(?:eyJ)?[\w-]{8,8192}\.[\w-]{4,4096}(?:\.[\w-]{4,4096}){0,2}"
    ),
    _shape(
        "authorization",
        ("authorization",),
        _AUTHORIZATION
        + rb"(?:basic|bearer|token|apikey|negotiate|ntlm|key|splunk|sso-key|bot|sharedkey(?:lite)?)[\s=]{1,4}"
        rb"(?P<v>[^\s\"'\\]{4,8192})",
    ),
    _shape(
        "authorization",
        ("authorization",),
        _AUTHORIZATION + rb"(?:digest|oauth|hawk|aws4-hmac-sha256|goog4-rsa-sha256)\s{1,4}(?P<v>[^\r\n\"'\\]{3,4096})",
    ),
    _shape(
        "password",
        (":/", ":\\/"),
        rb":(?:\\{0,3}/){2}[^\s:/@\"'\\<>]{0,128}:(?P<v>[^\s/\"'\\<>]{1,256})(?=@[^\s@])",
    ),
    _shape("password", ("jdbc:oracle",), rb"(?i)jdbc:oracle:\w{2,8}:[^\s/@\"']{1,64}/(?P<v>[^\s@\"']{1,256})(?=@)"),
    *(
        _shape("password", (option,), re.escape(option).encode() + rest, command)
        for command, option, rest in (
            ("curl", " -u", rb"[ =]?[\"']?[^\s:\"']{1,64}:(?P<v>[^\s\"']{1,256})"),
            ("curl", " --user", rb"[ =]?[\"']?[^\s:\"']{1,64}:(?P<v>[^\s\"']{1,256})"),
            ("mysql", " -p", rb"(?P<v>[^\s\"']{4,256})"),
            ("redis-cli", " -a", rb"\s{1,4}[\"']?(?P<v>[^\s\"']{4,256})"),
            ("sshpass", " -p", rb"\s{0,4}[\"']?(?P<v>[^\s\"']{4,256})"),
        )
    ),
    _shape("password", ("identified by",), rb"(?i)identified by\s{1,4}'(?P<v>[^'\r\n]{1,256})'"),
    _shape("password", ("login ",), rb"\blogin\s{1,4}\S{1,128}\s{1,8}password\s{1,4}(?P<v>\S{4,256})"),
    _shape(
        "signature",
        ("sig=", "signature="),
        rb"(?i)(?:(?<=[?&;])|(?<=x-amz-)|(?<=x-goog-))(?:sig|signature)=(?P<v>[\w%+/=.-]{16,1024})",
    ),
    # a name such as sk-learn has neither digit nor capital
    _shape("api-key", ("sk-",), _START + rb"sk-(?=[a-z_-]{0,64}[A-Z0-9])[\w-]{12,512}"),
    _shape("slack-token", ("xox", "xapp-"), _START + rb"(?:xox[a-z](?:\.xox[a-z])?|xapp)-[\w-]{10,255}"),
    _shape("github-token", ("github_pat_",), _START + rb"github_pat_\w{30,255}"),
    _shape(
        "stripe-key",
        ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"),
        _START + rb"(?:(?:sk|rk)_(?:live|test)|whsec)_[A-Za-z0-9+/=]{16,255}",
    ),
    _shape("npm-token", ("npm_",), _START + rb"npm_[A-Za-z0-9]{36}(?!\w)"),
    _shape("npm-token", ("_authtoken=",), rb"_authToken=(?P<v>[^\s\"']{8,256})"),
    *_tokens("google-key", ("AIza", r"[\w-]{35}"), ("GOCSPX-", r"[\w-]{28}"), ("ya29.", r"[\w-]{20,2048}")),
    *_tokens("huggingface-token", ("hf_", "[A-Za-z0-9]{30,64}"), ("api_org_", "[A-Za-z0-9]{30,64}")),
    *_tokens(
        "api-key",
        *(("gsk_", "[A-Za-z0-9]{40,64}"), ("xai-", "[A-Za-z0-9]{40,128}"), ("pplx-", "[A-Za-z0-9]{40,64}")),
        *(("r8_", "[A-Za-z0-9]{37,40}"), ("nvapi-", r"[\w-]{60,80}"), ("pcsk_", r"\w{40,128}")),
        *(("tvly-", r"[\w-]{20,64}"), ("fw_", "[A-Za-z0-9]{22,24}"), ("lsv2_pt_", "[0-9a-f]{32}_[0-9a-f]{10}")),
        *(("lsv2_sk_", "[0-9a-f]{32}_[0-9a-f]{10}"), ("dapi", "[0-9a-f]{32}(?:-[0-9])?"), ("NRAK-", "[A-Z0-9]{27}")),
        *(("key-", "[0-9a-f]{32}"), ("AKC", "[A-Za-z0-9]{60,80}"), ("re_", r"\w{8}_\w{24}")),
    ),
    *_tokens(
        "token",
        *(("hvs.", r"[\w-]{24,128}"), ("dckr_pat_", r"[\w-]{24,64}"), ("shpat_", "[0-9a-fA-F]{32}")),
        *(("dop_v1_", "[0-9a-f]{64}"), ("glsa_", r"\w{32,64}"), ("sntrys_", r"[\w=+/]{40,255}"), ("wk_", r"[\w-]{43}")),
        *(("ATATT3", r"[\w=-]{100,255}"), ("secret_", "[A-Za-z0-9]{43}"), ("ntn_", "[A-Za-z0-9]{40,64}")),
    ),
)
"""Beside those of the detector library; in the order in which they are asked."""

_LOCAL = re.compile(rb"(?:(?<![\w.+-])|(?<=%[0-9a-fA-F]{2}))[\w.+-]{1,64}\Z")
_DOMAIN = re.compile(rb"(?:@|%40)(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")


def emails(view: View) -> Iterator[Span]:
    """git@host is left alone: the address of a repository, not of a person."""
    for sign in (b"@", b"%40"):
        at = view.text.find(sign)
        while at >= 0:
            domain = _DOMAIN.match(view.text, at)
            local = domain and _LOCAL.search(view.text, max(0, at - 68), at)
            if domain and local and local[0] != b"git":
                yield Span(local.start(), domain.end(), "email")
            at = view.text.find(sign, at + 1)
