"""Requests and replies against a Google discovery document, as google-api-python-client ships it.

A problem is a line that begins with the JSON path. Checked: the method and its parameters, unknown fields, types,
integer ranges, 64-bit integers as strings, base64, enumerations, patterns of path parameters. Not: which fields must be
there (the documents hardly say), and what is written only in prose.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from pydantic import JsonValue

_BITS = {"int32": (-(1 << 31), (1 << 31) - 1), "uint32": (0, (1 << 32) - 1)}
_LONG = {"int64": (-(1 << 63), (1 << 63) - 1), "uint64": (0, (1 << 64) - 1)}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}


@dataclass(frozen=True)
class Method:
    id: str
    """`compute.instances.get`."""
    path: Mapping[str, str]
    """The path's parameters."""
    spec: Mapping[str, Any]

    @property
    def request(self) -> str | None:
        found: str | None = self.spec.get("request", {}).get("$ref")
        return found

    @property
    def response(self) -> str | None:
        found: str | None = self.spec.get("response", {}).get("$ref")
        return found


class Discovery:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas, self._common = document["schemas"], document["parameters"]
        base = "/" + document["servicePath"]
        self._methods = [
            (spec["httpMethod"], _pattern(base + spec.get("flatPath", spec["path"])), spec)
            for spec in _methods(document)
        ]

    def method(self, http_method: str, path: str) -> Method | None:
        for verb, pattern, spec in self._methods:
            found = pattern.fullmatch(path) if verb == http_method else None
            if found:
                return Method(spec["id"], found.groupdict(), spec)
        return None

    def request_problems(self, method: Method, query: Mapping[str, str], body: JsonValue) -> list[str]:
        known = method.spec.get("parameters", {})
        problems = [f"query.{name}: unknown" for name in query if name not in self._common and name not in known]
        for name, value in (*method.path.items(), *query.items()):
            problems += _parameter_problems(name, value, known.get(name, {}))
        required = (name for name, spec in known.items() if spec.get("required") and spec["location"] == "query")
        problems += [f"query.{name}: missing" for name in required if name not in query]
        if method.request is not None:
            problems += self.problems(method.request, {} if body is None else body)
        elif body:
            problems.append("$: no body is expected")
        return problems

    def problems(self, schema: str, value: JsonValue) -> list[str]:
        return list(self._check(self._schemas[schema], value, "$"))

    def _check(self, schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"]]
        kind = schema.get("type", "any")
        if kind == "any":
            return
        fits = isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
        if not fits:
            yield f"{path}: {kind} expected, not {type(value).__name__}"
        elif kind == "object":
            yield from self._check_object(schema, value, path)
        elif kind == "array":
            for number, item in enumerate(value):
                yield from self._check(schema["items"], item, f"{path}[{number}]")
        else:
            yield from _scalar_problems(schema, value, path)

    def _check_object(self, schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            inner = known.get(name, others)
            if inner is None:
                yield f"{path}.{name}: unknown"
            else:
                yield from self._check(inner, item, f"{path}.{name}")


@cache
def discovery(name: str) -> Discovery:
    """`compute.v1`."""
    documents = resources.files("googleapiclient.discovery_cache").joinpath("documents")
    return Discovery(json.loads(documents.joinpath(f"{name}.json").read_text(encoding="utf-8")))


def _methods(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from node.get("methods", {}).values()
    for inner in node.get("resources", {}).values():
        yield from _methods(inner)


def _pattern(flat_path: str) -> re.Pattern[str]:
    """Fixed words win over parameters because a parameter takes no colon and each path has its own words."""
    parts = re.split(r"\{\+?(\w+)\}", flat_path)
    return re.compile("".join(f"(?P<{part}>[^/:]+)" if n % 2 else re.escape(part) for n, part in enumerate(parts)))


def _parameter_problems(name: str, text: str, spec: Mapping[str, Any]) -> Iterator[str]:
    """Parameters are text, whatever their type."""
    kind = spec.get("type")
    if kind == "integer" and not re.fullmatch(r"-?\d+", text):
        yield f"parameter {name}: integer expected, not {text!r}"
    elif kind == "boolean" and text not in ("true", "false"):
        yield f"parameter {name}: boolean expected, not {text!r}"
    elif "pattern" in spec and not re.fullmatch(spec["pattern"], text):
        yield f"parameter {name}: {text!r} does not match {spec['pattern']}"


def _scalar_problems(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    form = schema.get("format", "")
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {', '.join(schema['enum'])}"
    elif form in _BITS and not _BITS[form][0] <= value <= _BITS[form][1]:
        yield f"{path}: {value} is no {form}"
    elif form in _LONG and not (re.fullmatch(r"-?\d+", value) and _LONG[form][0] <= int(value) <= _LONG[form][1]):
        yield f"{path}: {value!r} is no {form} in a string"
    elif form == "byte":
        try:
            base64.b64decode(value, altchars=b"-_", validate=True)
        except binascii.Error:
            yield f"{path}: {value!r} is not base64"
