"""Requests and replies against the typed models of azure-mgmt-compute.

A problem is a line that begins with the JSON path. Checked: unknown fields, missing fields that the model requires,
types, dates, and words of an enumeration (which Azure may extend). Not: what is written only in prose.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import JsonValue


def problems(model: str, value: JsonValue) -> list[str]:
    """`model` is the name of a class in azure.mgmt.compute.models."""
    from azure.mgmt.compute import models

    return list(_check(getattr(models, model), value, "$"))


@cache
def _fields(model: Any) -> dict[str, Any]:
    """Name on the wire → type."""
    from azure.mgmt.compute import models

    hints = get_type_hints(model, localns={"_models": models})
    rest = model.__new__(model)._attr_to_rest_field  # the SDK works it out when a model is first made
    return {getattr(field, "_rest_name", name): hints[name] for name, field in rest.items() if name in hints}


def _check(kind: Any, value: Any, path: str) -> Iterator[str]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        yield from _check_union(inner, value, path)
    elif kind is Any:
        return
    elif origin in (list, dict):
        yield from _check_many(origin, inner, value, path)
    elif hasattr(kind, "_deserialize"):
        yield from _check_model(kind, value, path)
    elif kind is datetime:
        if not _is_time(value):
            yield f"{path}: {value!r} is no date-time"
    elif not isinstance(value, (int, float) if kind is float else kind) or (
        isinstance(value, bool) and kind is not bool
    ):
        yield f"{path}: {kind.__name__} expected, not {type(value).__name__}"


def _check_union(kinds: tuple[Any, ...], value: Any, path: str) -> Iterator[str]:
    """Optional[X], or an enumeration beside str, in which case only its words are taken."""
    if value is None:
        if type(None) not in kinds:
            yield f"{path}: null is not taken"
        return
    words = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    if words:
        known = [str(word.value) for word in words[0]]
        if value not in known:
            yield f"{path}: {value!r} is none of {', '.join(known)}"
        return
    rest = [kind for kind in kinds if kind is not type(None)]
    found = [list(_check(kind, value, path)) for kind in rest]
    if all(found):
        yield from found[0]


def _check_many(origin: Any, inner: tuple[Any, ...], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, origin):
        yield f"{path}: {origin.__name__} expected, not {type(value).__name__}"
    elif origin is list:
        for number, item in enumerate(value):
            yield from _check(inner[0], item, f"{path}[{number}]")
    else:
        for name, item in value.items():
            yield from _check(inner[1], item, f"{path}.{name}")


def _check_model(model: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: an object expected, not {type(value).__name__}"
        return
    known = _fields(model)
    for name, item in value.items():
        if name not in known:
            yield f"{path}.{name}: unknown"
        else:
            yield from _check(known[name], item, f"{path}.{name}")
    for name, kind in known.items():
        if name not in value and type(None) not in get_args(kind):
            yield f"{path}.{name}: missing"


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
