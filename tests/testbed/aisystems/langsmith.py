"""LangSmith: our own fake of its prompts' tags and commits, after its OpenAPI document and SDK 0.15.

Targets: `prompt_tag`, id `OWNER/REPO/TAG`. Followed: paths (with /api/v1 or without), X-Api-Key, the fields of a tag's
request (`commit_id` is a UUID), of a commit and of a list of commits with limit, offset and tag, and that tagging needs
`prompts:tag` or the repo. From memory: the fields of a tag in replies, all error bodies, 409 for a tag that exists.
A 429 has no documented Retry-After: it comes without. Not there: webhooks (`skip_webhooks`), a tag's history.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID, uuid4

from pydantic import JsonValue

from tests.testbed.aisystems.fake import Fake, Refusal, body_of, now
from tests.testbed.clouds.jsonserver import Reply, Request
from watchkeeper.core.model import Scalar

OWNER = "shop"
_TAGS = re.compile(r"(?:/api/v1)?/repos/([^/]+)/([^/]+)/tags(?:/([^/]+))?")
_COMMITS = re.compile(r"(?:/api/v1)?/commits/([^/]+)/([^/]+)(?:/([^/]+))?/?")


@dataclass(frozen=True)
class Commit:
    text: str
    id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def hash(self) -> str:
        return sha256(self.id.encode()).hexdigest()


@dataclass
class Tag:
    name: str
    commit: Commit
    id: str = field(default_factory=lambda: str(uuid4()))
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)


@dataclass
class Repo:
    commits: list[Commit]
    tags: dict[str, Tag] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid4()))


class LangSmithFake(Fake):
    """Owners are a handle, or `-` for the caller's own workspace."""

    def __init__(self) -> None:
        super().__init__()
        self._repos: dict[str, Repo] = {}

    # Makers.

    def prompt(self, *texts: str) -> tuple[str, list[str]]:
        """A prompt with a commit for each text, oldest first: its name, and the ids of its commits."""
        name, commits = f"prompt-{uuid4().hex[:8]}", [Commit(text) for text in texts]
        self._repos[name] = Repo(commits)
        return name, [one.id for one in commits]

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """The `commit_id` that a tag points at. A prompt that is not there is a LookupError."""
        repo, tag = self._split(kind, id_)
        with self.lock:
            found = repo.tags.get(tag)
            return {"commit_id": found.commit.id if found else None}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """None takes the tag away."""
        repo, tag = self._split(kind, id_)
        with self.lock:
            repo.tags.pop(tag, None)
            wanted = next((one for one in repo.commits if one.id == values["commit_id"]), None)
            if wanted is not None:
                repo.tags[tag] = Tag(tag, wanted)

    def _split(self, kind: str, id_: str) -> tuple[Repo, str]:
        assert kind == "prompt_tag"
        owner, name, tag = id_.split("/")
        if owner != OWNER:
            raise LookupError(id_)
        return self._repos[name], tag

    # The server.

    def credential(self, request: Request) -> str | None:
        return request.headers.get("x-api-key")

    def unauthorized(self) -> Refusal:
        return Refusal(401, {"detail": "Invalid token"})

    def forbidden(self) -> Refusal:
        return Refusal(403, {"detail": "Forbidden"})

    def throttled(self, retry_after_s: int) -> Refusal:
        return Refusal(429, {"detail": "Rate limit exceeded"})

    def handle(self, request: Request) -> Reply:
        tags, commits = _TAGS.fullmatch(request.path), _COMMITS.fullmatch(request.path)
        if tags:
            return self._tags(request, self._repo(tags[1], tags[2]), tags[3])
        if commits and request.method == "GET":
            repo = self._repo(commits[1], commits[2])
            return self._commit(repo, commits[3]) if commits[3] else self._commits(request, repo)
        raise Refusal(404, {"detail": "Not Found"})

    def _repo(self, owner: str, name: str) -> Repo:
        if owner not in (OWNER, "-") or name not in self._repos:
            raise Refusal(404, {"detail": "Repo not found"})
        return self._repos[name]

    def _tags(self, request: Request, repo: Repo, name: str | None) -> Reply:
        if name is None and request.method == "GET":
            return Reply(200, [_tag(repo, one) for one in repo.tags.values()])
        if name is None and request.method == "POST":
            return self._create(request, repo)
        found = repo.tags.get(name or "")
        if found is None:
            raise Refusal(404, {"detail": "Tag not found"})
        match request.method:
            case "PATCH":
                found.commit, found.updated = _wanted(repo, body_of(request, _invalid("body"))), now()
            case "DELETE":
                del repo.tags[found.name]
            case method if method != "GET":
                raise Refusal(405, {"detail": "Method Not Allowed"})
        return Reply(200, _tag(repo, found))

    def _create(self, request: Request, repo: Repo) -> Reply:
        body = body_of(request, _invalid("body"))
        name = body.get("tag_name")
        if not isinstance(name, str) or not name:
            raise _invalid("tag_name")
        commit = _wanted(repo, body)
        if name in repo.tags:
            raise Refusal(409, {"detail": "Tag already exists"})
        repo.tags[name] = Tag(name, commit)
        return Reply(200, _tag(repo, repo.tags[name]))

    def _commits(self, request: Request, repo: Repo) -> Reply:
        first, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "20"))
        tag = repo.tags.get(request.query["tag"]) if "tag" in request.query else None
        newest = [one for one in reversed(repo.commits) if "tag" not in request.query or (tag and tag.commit is one)]
        shown = [_commit(repo, one) for one in newest[first : first + limit]]
        return Reply(200, {"commits": list[JsonValue](shown), "total": len(newest)})

    def _commit(self, repo: Repo, name: str) -> Reply:
        """By hash, by its beginning, by tag, or `latest`."""
        tag = repo.tags.get(name)
        found = repo.commits[-1] if name == "latest" else tag.commit if tag else None
        if found is None:
            found = next((one for one in repo.commits if len(name) >= 8 and one.hash.startswith(name)), None)
        if found is None:
            raise Refusal(404, {"detail": "Commit not found"})
        return Reply(200, {"commit_hash": found.hash, "manifest": {"text": found.text}, "examples": []})


def _wanted(repo: Repo, body: Mapping[str, JsonValue]) -> Commit:
    try:
        wanted = str(UUID(str(body["commit_id"])))
    except (KeyError, ValueError):
        raise _invalid("commit_id") from None
    found = next((one for one in repo.commits if one.id == wanted), None)
    if found is None:
        raise Refusal(404, {"detail": "Commit not found"})
    return found


def _tag(repo: Repo, tag: Tag) -> JsonValue:
    return {
        "id": tag.id,
        "repo_id": repo.id,
        "tag_name": tag.name,
        "commit_id": tag.commit.id,
        "commit_hash": tag.commit.hash,
        "created_at": tag.created,
        "updated_at": tag.updated,
    }


def _commit(repo: Repo, commit: Commit) -> JsonValue:
    at = repo.commits.index(commit)
    parent = repo.commits[at - 1] if at else None
    return {
        "id": commit.id,
        "commit_hash": commit.hash,
        "parent_id": parent.id if parent else None,
        "parent_commit_hash": parent.hash if parent else None,
        "repo_id": repo.id,
        "manifest": {"text": commit.text},
    }


def _invalid(path: str) -> Refusal:
    return Refusal(422, {"detail": [{"loc": ["body", path], "msg": "Invalid input", "type": "value_error"}]})
