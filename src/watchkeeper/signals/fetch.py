"""One bounded GET from a system that is polled: its bytes or JSON, or a typed error.

Errors name the source and the place, never the credential. It does not retry: the next poll does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from watchkeeper.core.errors import InputError, UnavailableError

TIMEOUT_S = 20.0
MAX_REPLY = 8 << 20

Reply = TypeVar("Reply", bound=BaseModel)


class RefusedReplyError(UnavailableError):
    """The source answered with an HTTP error. `status` says which."""

    code = "source_refused"

    def __init__(self, what: str, *, status: int, cause: str, next_step: str) -> None:
        super().__init__(what, cause=cause, next_step=next_step)
        self.status = status


class Endpoint:
    """A system under one base URL, with an optional bearer token."""

    def __init__(self, name: str, base_url: str, bearer: SecretStr | None, client: httpx.AsyncClient) -> None:
        self.name = name
        self._base, self._bearer, self._client = base_url.rstrip("/"), bearer, client

    async def text(self, path: str, params: Mapping[str, str] | None = None, *, limit: int = MAX_REPLY) -> str:
        """Raises UnavailableError; RefusedReplyError where the source answered with an error."""
        return (await self._get(path, params or {}, limit)).decode("utf-8", "replace")

    async def json(
        self, path: str, shape: type[Reply], params: Mapping[str, str] | None = None, *, limit: int = MAX_REPLY
    ) -> Reply:
        """Raises as `text` does, and InputError for a reply of another shape."""
        body = await self._get(path, params or {}, limit)
        try:
            return shape.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            html = body.lstrip()[:1] == b"<"
            raise InputError(
                f"{self.name} answered {'HTML' if html else 'something else'} where its API's JSON was expected",
                place=f"{path} {where}".strip(),
                cause="a sign-in page or proxy answers there" if html else "another product or version answers there",
                next_step=f"try GET {path} by hand; check base_url of {self.name}",
            ) from error

    async def _get(self, path: str, params: Mapping[str, str], limit: int) -> bytes:
        headers = {"Accept-Encoding": "identity"}
        if self._bearer is not None:
            headers["Authorization"] = f"Bearer {self._bearer.get_secret_value()}"
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._client.stream(
                    "GET", f"{self._base}{path}", params=dict(params), headers=headers, timeout=TIMEOUT_S
                ) as response,
            ):
                if response.status_code != 200:
                    raise self._refused(path, response.status_code)
                return await self._body(path, response, limit)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._silent(path, "it did not answer in time", "it is overloaded or hangs") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = type(error).__name__
            raise self._silent(path, f"it could not be asked ({why})", "it is down, or base_url is wrong") from error

    async def _body(self, path: str, response: httpx.Response, limit: int) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > limit:
                raise self._silent(
                    path, f"its reply is larger than {limit} bytes", "it holds more than one poll should ask for"
                )
            parts.append(part)
        return b"".join(parts)

    def _refused(self, path: str, status: int) -> RefusedReplyError:
        cause, next_step = "it has trouble of its own", f"look at the log of {self.name}"
        if status in (401, 403):
            cause, next_step = "the credential is wrong, or may not do this", f"check the credential of {self.name}"
        elif 300 <= status < 500:
            cause, next_step = "another product or version answers there", f"check base_url of {self.name}"
        return RefusedReplyError(
            f"{self.name} answered HTTP {status} to GET {path}", status=status, cause=cause, next_step=next_step
        )

    def _silent(self, path: str, what: str, cause: str) -> UnavailableError:
        return UnavailableError(
            f"{self.name}: {what} (GET {path})", cause=cause, next_step=f"try GET {path} of {self.name} by hand"
        )
