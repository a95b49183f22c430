"""Langfuse: our own fake of its prompts API, after its SDK 5.0 and its server's source (langfuse/langfuse, web/).

Targets: `prompt_label`, id `PROMPT/LABEL`. Followed: paths, Basic auth, the shapes of a prompt and of a list,
`newLabels` (labels are added to the version and taken from all others, never from the version itself: no call makes a
label point at nothing), 404 and 400 bodies, the headers of a 429. From memory: the bodies of 401, 403 and 429, and that
`latest` is refused. Not there: protected labels, dependencies between prompts, folders beyond a slash in the name.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from uuid import uuid4

from pydantic import JsonValue

from tests.testbed.aisystems.fake import Fake, Refusal, body_of, now
from tests.testbed.clouds.jsonserver import Reply, Request
from watchkeeper.core.model import Scalar

BASE = "/api/public/v2/prompts"
PUBLIC_KEY = "pk-lf-testbed"
LATEST = "latest"
_VERSION = re.compile(rf"{BASE}/(.+)/versions/(\d+)")


@dataclass
class Version:
    number: int
    text: str
    labels: list[str] = field(default_factory=list)
    updated: str = field(default_factory=now)


class LangfuseFake(Fake):
    """`key` and `reader_key` are secret keys; the public key is `PUBLIC_KEY`."""

    def __init__(self) -> None:
        super().__init__()
        self._prompts: dict[str, list[Version]] = {}

    # Makers.

    def prompt(self, *texts: str, folder: str = "") -> str:
        """A prompt with a version for each text, from 1 on: its name."""
        name = f"{folder}prompt-{uuid4().hex[:8]}"
        self._prompts[name] = [Version(number, text) for number, text in enumerate(texts, 1)]
        return name

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """The `version` that a label points at. A prompt that is not there is a LookupError."""
        name, label = _split(kind, id_)
        with self.lock:
            found = next((one.number for one in self._prompts[name] if label in one.labels), None)
            return {"version": found}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        name, label = _split(kind, id_)
        with self.lock:
            for one in self._prompts[name]:
                one.labels = [other for other in one.labels if other != label]
                if one.number == values["version"]:
                    one.labels.append(label)

    # The server.

    def credential(self, request: Request) -> str | None:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return None
        public, _, secret = b64decode(given).decode(errors="replace").partition(":")
        return secret if public == PUBLIC_KEY else None

    def unauthorized(self) -> Refusal:
        return _error(401, "UnauthorizedError", "Invalid credentials. Confirm that you've configured the correct host.")

    def forbidden(self) -> Refusal:
        return _error(403, "ForbiddenError", "Access denied - insufficient permissions")

    def throttled(self, retry_after_s: int) -> Refusal:
        limits = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": now()}
        return Refusal(429, "429 - rate limit exceeded", {"Retry-After": str(retry_after_s), **limits})

    def handle(self, request: Request) -> Reply:
        version = _VERSION.fullmatch(request.path)
        if version and request.method == "PATCH":
            return self._label(request, version[1], int(version[2]))
        if request.method == "GET" and request.path == BASE:
            return self._list(request)
        if request.method == "GET" and request.path.startswith(f"{BASE}/"):
            return self._get(request, request.path.removeprefix(f"{BASE}/"))
        raise _error(405, "MethodNotAllowedError", "Method not allowed")

    def _label(self, request: Request, name: str, number: int) -> Reply:
        labels = body_of(request, _invalid("body")).get("newLabels")
        if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels) or LATEST in labels:
            raise _invalid("newLabels")
        found = next((one for one in self._prompts.get(name, ()) if one.number == number), None)
        if found is None:
            raise _error(404, "LangfuseNotFoundError", f"Prompt not found: {name}")
        for one in self._prompts[name]:
            if one is not found:
                one.labels = [label for label in one.labels if label not in labels]
        found.labels += [str(label) for label in labels if label not in found.labels]
        found.updated = now()
        return Reply(200, self._shown(name, found))

    def _get(self, request: Request, name: str) -> Reply:
        versions, number = self._prompts.get(name, []), request.query.get("version")
        label = request.query.get("label", "production")
        if number is not None:
            found = next((one for one in versions if str(one.number) == number), None)
            asked = f" with version {number}"
        else:
            found = next((one for one in versions if label in self._labels(name, one)), None)
            asked = f" with label '{label}'"
        if found is None:
            raise _error(404, "LangfuseNotFoundError", f"Prompt not found: '{name}'{asked}")
        return Reply(200, self._shown(name, found))

    def _list(self, request: Request) -> Reply:
        page, limit = int(request.query.get("page", "1")), int(request.query.get("limit", "50"))
        wanted = request.query.get("name")
        names = [name for name in sorted(self._prompts) if wanted in (None, name)]
        shown = [self._meta(name) for name in names[(page - 1) * limit : page * limit]]
        meta: JsonValue = {
            "page": page,
            "limit": limit,
            "totalItems": len(names),
            "totalPages": ceil(len(names) / limit),
        }
        return Reply(200, {"data": list[JsonValue](shown), "meta": meta})

    def _meta(self, name: str) -> JsonValue:
        versions = self._prompts[name]
        labels = sorted({label for one in versions for label in self._labels(name, one)})
        return {
            "name": name,
            "type": "text",
            "versions": [one.number for one in versions],
            "labels": list[JsonValue](labels),
            "tags": [],
            "lastUpdatedAt": max(one.updated for one in versions),
            "lastConfig": {},
        }

    def _labels(self, name: str, version: Version) -> list[str]:
        """The newest version is `latest` by itself."""
        return [*version.labels, LATEST] if version is self._prompts[name][-1] else version.labels

    def _shown(self, name: str, version: Version) -> JsonValue:
        return {
            "id": f"{name}-{version.number}",
            "name": name,
            "version": version.number,
            "type": "text",
            "prompt": version.text,
            "config": {},
            "labels": list[JsonValue](self._labels(name, version)),
            "tags": [],
            "commitMessage": None,
            "resolutionGraph": None,
            "updatedAt": version.updated,
        }


def _split(kind: str, id_: str) -> tuple[str, str]:
    assert kind == "prompt_label"
    name, _, label = id_.rpartition("/")
    return name, label


def _error(status: int, name: str, message: str) -> Refusal:
    return Refusal(status, {"message": message, "error": name})


def _invalid(path: str) -> Refusal:
    issue: JsonValue = {"code": "invalid_type", "path": [path], "message": "Invalid input"}
    return Refusal(400, {"message": "Invalid request data", "error": [issue]})
