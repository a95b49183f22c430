"""Secrets that are given as files: `admin_key_file: PATH` in the place of `admin_key`.

What is written later (a variable, after the file) stands in the place of both spellings; both in one source is an
error, as is a secret that is empty. Errors name places, never contents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

from pydantic import BaseModel, JsonValue

from watchkeeper.core.errors import ConfigError
from watchkeeper.core.yamldoc import Path
from watchkeeper.daemon.variables import is_secret

SUFFIX = "_file"
Place = Callable[[Path], str]


def other_spelling(where: Path, model: type[BaseModel]) -> Path | None:
    """`admin_key_file` of `admin_key` and the reverse; None of what is no secret."""
    *above, name = where
    if not isinstance(name, str):
        return None
    if name.endswith(SUFFIX):
        plain = (*above, name.removesuffix(SUFFIX))
        return plain if is_secret(plain, model) else None
    return (*above, name + SUFFIX) if is_secret(where, model) else None


def drop(data: JsonValue, where: Path) -> None:
    """Takes one value away, if it is there."""
    *above, name = where
    at = data
    for part in above:
        match at:
            case dict() if isinstance(part, str) and part in at:
                at = at[part]
            case list() if isinstance(part, int) and part < len(at):
                at = at[part]
            case _:
                return
    if isinstance(at, dict) and isinstance(name, str):
        at.pop(name, None)


def one_spelling(data: JsonValue, model: type[BaseModel], place: Place) -> None:
    """Raises ConfigError where one source gives a secret both ways."""
    for mapping, path in _mappings(data, ()):
        for name in mapping:
            where = (*path, name)
            if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in mapping and other_spelling(where, model):
                raise both(place(where), name)


def both(place: str, name: str) -> ConfigError:
    plain = name.removesuffix(SUFFIX)
    return ConfigError(
        f"{plain} is given twice: as a value and as a file",
        place=place,
        cause="it is not said which of the two is meant",
        next_step=f"keep either {plain} or {plain}{SUFFIX}",
    )


def read(data: JsonValue, model: type[BaseModel], place: Place) -> None:
    """Replaces every `NAME_file: PATH` by `NAME: CONTENT`, and refuses secrets that are empty."""
    for mapping, path in _mappings(data, ()):
        for name in list(mapping):
            where = (*path, name)
            plain = other_spelling(where, model) if name.endswith(SUFFIX) else None
            if plain is not None:
                mapping[name.removesuffix(SUFFIX)] = _content(str(mapping.pop(name)), place(where))
            elif isinstance(mapping[name], str) and not str(mapping[name]).strip() and is_secret(where, model):
                raise _empty(f"the secret {name} is empty", place(where))


def _content(file: str, place: str) -> str:
    try:
        text = FilePath(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"cannot read the secret file {file}: {why}",
            place=place,
            cause="the file is missing, not readable by this user, or not a secret in text form",
            next_step="watchkeeper config check",
        ) from error
    if not text:
        raise _empty(f"the secret file {file} is empty", place)
    return text


def _empty(what: str, place: str) -> ConfigError:
    return ConfigError(
        what, place=place, cause="it was never filled in, or its source was empty", next_step="watchkeeper config check"
    )


def _mappings(data: JsonValue, path: Path) -> Iterator[tuple[dict[str, JsonValue], Path]]:
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from _mappings(item, (*path, index))
    elif isinstance(data, dict):
        yield data, path
        for name, item in data.items():
            yield from _mappings(item, (*path, name))
