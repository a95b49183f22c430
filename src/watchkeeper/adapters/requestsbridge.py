"""A `requests` session on the recorded wire: what Google's and Azure's official clients send goes out by ours.

Imported when such a client is opened, because `requests` is only there for it. It does NOT cover sessions of the
clients' credentials, which fetch their tokens by themselves.
"""

from __future__ import annotations

from io import BytesIO

import requests
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from watchkeeper.adapters.sdk import Answer, SdkTransport

_OURS = frozenset({"accept-encoding", "connection", "content-length", "host"})
"""Headers of a request that belong to whoever holds the connection."""
_SPENT = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})
"""Headers of a reply that were about the bytes on the wire, not about the body that we have."""


class WireAdapter:
    """Stands where the session's own connections would."""

    def __init__(self, transport: SdkTransport) -> None:
        self._transport = transport

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        """Raises SdkStop where no good answer comes."""
        headers = {name: _text(value) for name, value in request.headers.items() if name.lower() not in _OURS}
        headers["Accept-Encoding"] = "identity"
        answer = self._transport.exchange(request.method or "GET", request.url or "", headers, _body(request.body))
        return _response(request, answer)

    def close(self) -> None:
        """The wire belongs to whoever made it."""


def carry(session: requests.Session, transport: SdkTransport) -> None:
    """From now on all that this session sends goes by `transport`; proxies and .netrc are not looked for."""
    session.trust_env = False
    bridge = WireAdapter(transport)
    for scheme in ("https://", "http://"):
        session.adapters[scheme] = bridge  # type: ignore[assignment]


def _body(body: object) -> bytes:
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else b""


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _response(request: requests.PreparedRequest, answer: Answer) -> requests.Response:
    headers = {name: value for name, value in answer.headers.items() if name not in _SPENT}
    made = requests.Response()
    made.status_code, made.url, made.request = answer.status, request.url or "", request
    made.headers = CaseInsensitiveDict(headers)
    made.encoding = "utf-8"
    made.raw = HTTPResponse(BytesIO(answer.body), headers=headers, status=answer.status, preload_content=False)
    return made
