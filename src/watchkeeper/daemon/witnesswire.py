"""The wire to one witness (C2SP tlog-witness): a call within a time and a bound, and what its answers must look like.

Nothing that comes back is believed here; `NoAnswer` is every way in which it is not of the protocol.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
from pydantic import Field, field_validator

from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.cosigning.addcheckpoint import SIZE_TYPE
from watchkeeper.ledger.cosigning.cosignature import CosignerKey
from watchkeeper.ledger.signing.checkpoint import parse_size
from watchkeeper.ledger.signing.note import SignatureLine

MAX_REPLY_BYTES = 262_144
PLAIN = {"Accept-Encoding": "identity"}
"""What is compressed all the same is not unpacked: a bound on the wire is none on what unfolds."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"


class WitnessConfig(Contract):
    """A witness that cosigns our checkpoints (C2SP tlog-witness)."""

    name: str = Field(pattern=NAME)
    url: str = Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")
    """Its submission prefix: `/add-checkpoint` is called under it. Without user or password: it is shown in logs."""
    vkey: str
    """Its verifier key, got from its owner: `watchkeeper witness key`."""
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _can_be_called(cls, value: str) -> str:
        try:
            httpx.URL(value)
        except (httpx.InvalidURL, ValueError):
            raise ValueError("not a URL: look at its port and its host name") from None
        return value.rstrip("/")

    @field_validator("vkey")
    @classmethod
    def _is_a_witness_s(cls, value: str) -> str:
        try:
            return CosignerKey.from_vkey(value).vkey
        except InputError as error:
            raise ValueError(f"{error.what}: {error.cause}") from None


@dataclass(frozen=True)
class Reply:
    status: int
    media_type: str
    body: bytes


class NoAnswer(Exception):
    """The witness did not do as asked; the text is safe to log."""


async def call(
    http: httpx.AsyncClient, config: WitnessConfig, method: str, path: str, body: bytes | None = None
) -> Reply:
    """Within `timeout_s` in all, however slowly the answer drips, and never more than a bound of it."""
    try:
        async with (
            asyncio.timeout(config.timeout_s),
            http.stream(method, config.url + path, content=body, headers=PLAIN, timeout=None) as reply,
        ):
            read = bytearray()
            async for piece in reply.aiter_raw():
                read += piece
                if len(read) > MAX_REPLY_BYTES:
                    raise NoAnswer("its answer is too long")
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise NoAnswer(type(error).__name__) from None
    return Reply(reply.status_code, reply.headers.get("content-type", "").partition(";")[0], bytes(read))


def size_of(reply: Reply) -> int:
    """The size that a 409 names. Raises NoAnswer for one that is not of this protocol."""
    try:
        if reply.media_type != SIZE_TYPE:
            raise ValueError
        return parse_size(reply.body.decode().removesuffix("\n"))
    except ValueError:
        raise NoAnswer("http_409 without a size") from None


def lines_of(body: bytes) -> list[SignatureLine]:
    try:
        *lines, rest = body.decode().split("\n")
        if rest or not lines:
            raise ValueError
        return [SignatureLine.from_line(line) for line in lines]
    except ValueError:
        raise NoAnswer("its answer is not of signature lines") from None
