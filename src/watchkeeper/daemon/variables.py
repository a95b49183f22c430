"""`WATCHKEEPER_*` variables as settings: which ones are ours, which setting each names, and setting it.

`WATCHKEEPER_API__PORT` is `api.port`, `WATCHKEEPER_GATEWAYS__0__NAME` the first gateway's name. Names of settings are
written in any case; what a team named itself (the keys of a mapping) keeps its case. It does not validate values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, SecretStr

from watchkeeper.core.errors import ConfigError
from watchkeeper.core.yamldoc import Path

PREFIX = "WATCHKEEPER_"
OTHERS = frozenset(
    {"CONFIG", "TOKEN", "TOKEN_FILE", "API_URL", "REQUIRE_PEERS", "WITNESS_DATA", "WITNESS_LOGS", "WITNESS_LISTEN"}
)
"""The command line's own, which are no settings."""

_WORD = r"(?:[A-Z0-9]+_)*"
_SERVICE_LINK = re.compile(
    rf"{_WORD}SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|{_WORD}PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
)
_LINK_PORT = re.compile(rf"{_WORD}PORT")
_LINK_VALUE = re.compile(r"(?:tcp|udp|sctp)://\S+:[0-9]+")


def given(environ: Mapping[str, str], model: type[BaseModel]) -> dict[str, tuple[Path, str]]:
    """Each variable that names a setting: where it goes, and its value."""
    own = {key: (key[len(PREFIX) :], value) for key, value in sorted(environ.items()) if key.startswith(PREFIX)}
    return {
        key: (_path(name.split("__"), model), value)
        for key, (name, value) in own.items()
        if name not in OTHERS and not _is_service_link(name, value)
    }


def _is_service_link(name: str, value: str) -> bool:
    """What Kubernetes puts into every container for services whose names begin like ours. `..._PORT` is such a link
    only with an address in it: `WATCHKEEPER_API_PORT=9000` is a mistyped setting, and is told as one."""
    if _SERVICE_LINK.fullmatch(name):
        return True
    return bool(_LINK_PORT.fullmatch(name) and _LINK_VALUE.fullmatch(value))


def _path(parts: Iterable[str], model: type[BaseModel]) -> Path:
    path: list[str | int] = []
    at: Any = model
    for part in parts:
        if _is_map(at):
            path.append(part)
        else:
            path.append(int(part) if re.fullmatch(r"[0-9]{1,6}", part) else part.lower())
        at = inside(at, path[-1])
    return tuple(path)


def is_secret(path: Path, model: type[BaseModel]) -> bool:
    at: Any = model
    for part in path:
        at = inside(at, part)
    return at is SecretStr


def inside(annotation: Any, part: str | int) -> Any:
    """The type of what `part` names within a type; None where it names nothing."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return None if field is None else _bare(field.annotation)
    arguments = get_args(annotation)
    return _bare(arguments[1 if _is_map(annotation) else 0]) if arguments else None


def _bare(annotation: Any) -> Any:
    """Without `None` and without what `Annotated` adds."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return _bare(next(each for each in get_args(annotation) if each is not type(None)))
    return _bare(annotation.__origin__) if hasattr(annotation, "__metadata__") else annotation


def _is_map(annotation: Any) -> bool:
    return get_origin(annotation) is dict


def put(data: JsonValue, where: Path, value: str, variable: str) -> None:
    """Sets one value, making mappings on the way; a list is only entered, or grown by its next index."""
    at = data
    for position, part in enumerate(where):
        last = position == len(where) - 1
        if isinstance(at, list) and isinstance(part, int) and part <= len(at):
            if part == len(at):
                at.append({})
            if last:
                at[part] = value
            else:
                at = at[part]
        elif isinstance(at, dict) and isinstance(part, str):
            if last:
                at[part] = value
            else:
                following = where[position + 1]
                at = at.setdefault(part, [] if isinstance(following, int) else {})
        else:
            raise ConfigError(
                "does not fit the settings",
                place=variable,
                cause="it goes into a value that is not a mapping, or skips an index of a list",
                next_step="watchkeeper config show",
            )
