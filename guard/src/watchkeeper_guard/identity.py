"""Whose call it is: run, agent, key and team, out of what a caller sent and what the gateway knows of its key.

A call goes by all the names that it has, so that a hold on any of them finds it; it is counted under the first. What
a caller sends is its own word: it can leave a run's name out or invent one. It does NOT escape a hold on its key or
team.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from watchkeeper_guard.request import names

RUN_HEADER = "x-watchkeeper-run"
AGENT_HEADER = "x-watchkeeper-agent"
MAX_TAGS = 64


@dataclass(frozen=True)
class Identity:
    """`runs` and `agents` by precedence."""

    runs: tuple[str, ...]
    agents: tuple[str, ...]
    keys: tuple[str, ...]
    teams: tuple[str, ...]


@dataclass(frozen=True)
class KeyFacts:
    """What the gateway knows of the key of a call."""

    hash: str | None = None
    alias: str | None = None
    team_id: str | None = None
    team_alias: str | None = None
    agent_id: str | None = None
    end_user: str | None = None


def identify(headers: Mapping[str, object], data: Mapping[str, object], key: KeyFacts) -> Identity:
    """`data` is a LiteLLM request: its body with the metadata that the proxy added."""
    metadata = [each for name in ("metadata", "litellm_metadata") if (each := _mapping(data.get(name)))]
    metadata += [each for known in list(metadata) if (each := _mapping(known.get("requester_metadata")))]
    tags = _tags(metadata)
    return Identity(
        runs=names(
            headers.get(RUN_HEADER),
            data.get("litellm_session_id"),
            *(each.get("session_id") for each in metadata),
            data.get("litellm_trace_id"),
            *(each.get("trace_id") for each in metadata),
            tags.get("run"),
        ),
        agents=names(
            headers.get(AGENT_HEADER),
            key.agent_id,
            *(each.get("agent_id") for each in metadata),
            tags.get("agent"),
            key.alias,
            key.end_user,
            data.get("user"),
        ),
        keys=names(key.alias, _hashed(key.hash)),
        teams=names(key.team_id, key.team_alias),
    )


def _hashed(key: str | None) -> str | None:
    """A gateway names a key by its hash; should it ever give the key itself, it goes no further than here."""
    return hashlib.sha256(key.encode()).hexdigest() if key is not None and key.startswith("sk-") else key


def _tags(metadata: list[Mapping[str, object]]) -> dict[str, str]:
    """Tags of the form `run:NAME` and `agent:NAME`; the first of each counts."""
    found: dict[str, str] = {}
    for each in metadata:
        tags = each.get("tags")
        for tag in tags[:MAX_TAGS] if isinstance(tags, list) else ():
            what, colon, name = tag.partition(":") if isinstance(tag, str) else ("", "", "")
            if colon and what in ("run", "agent"):
                found.setdefault(what, name)
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
