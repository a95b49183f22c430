"""Writes down every published contract, field by field: `python -m tests.testbed.contracts`.

One JSON schema each in tests/core/schemas, and docs/contracts-fields.md. It adds fields to a schema that is there, and
refuses what the rule of change (docs/contracts.md) forbids; nobody edits the files. What a validator in code refuses
beyond types and bounds is not in a schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_args

from watchkeeper import core
from watchkeeper.core.entries import ENTRY_DATA
from watchkeeper.core.meanings import meanings
from watchkeeper.core.model import Contract

Schema = dict[str, Any]

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = ROOT / "tests" / "core" / "schemas"
PAGE = ROOT / "docs" / "contracts-fields.md"
ABOVE_CORE = (
    "watchkeeper.adapters.contract",
    "watchkeeper.agents.detector.basis",
    "watchkeeper.agents.diagnoser.gateway",
    "watchkeeper.agents.outbox",
    "watchkeeper.ledger.archive.manifest",
    "watchkeeper.policies.whatif.report",
    "watchkeeper.signals.state.snapshot",
)
"""Modules outside the core that publish a contract."""

HEAD = """# Contracts, field by field

Made by `python -m tests.testbed.contracts` from the models; [contracts.md](contracts.md) says what they are for and how
they may change. The same as JSON schemas: `tests/core/schemas/`. A field without a default is required. An instant is
written in UTC with six decimals.
"""


def published() -> dict[str, type[Contract]]:
    """By schema name; the data of an entry that has none of its own by the kind of the entry."""
    for module in (*(f"{core.__name__}.{each.name}" for each in iter_modules(core.__path__)), *ABOVE_CORE):
        import_module(module)
    named = {model.schema_name: model for model in _below(Contract) if model.__dict__.get("schema_name")}
    entries = {str(kind): model for kind, model in ENTRY_DATA.items() if model not in named.values()}
    return dict(sorted((named | entries).items()))


def _below(model: type[Contract]) -> Iterator[type[Contract]]:
    for each in model.__subclasses__():
        yield each
        yield from _below(each)


def schema_file(name: str) -> Path:
    short = name.removeprefix("watchkeeper.dev/").replace("dev.watchkeeper.", "entry-").replace("/", ".")
    return SCHEMAS / f"{short}.json"


def schema_of(model: type[Contract]) -> Schema:
    """As it is read. Without titles and texts: they may change as they like."""
    bare = _bare(model.model_json_schema())
    assert isinstance(bare, dict)
    return bare


def _bare(node: object) -> object:
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key not in ("title", "description")}
    return {
        key: {name: _bare(each) for name, each in value.items()} if key in ("properties", "$defs") else _bare(value)
        for key, value in kept.items()
    }


def text_of(schema: Schema) -> str:
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


# what may change


def breaks(old: Schema, new: Schema) -> list[str]:
    """What the rule of change forbids in going from one to the other; empty where only optional things were added."""
    return list(_Comparison(old, new).node(old, new, ""))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old.get("$defs", {}), new.get("$defs", {})

    def node(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """A value may come to be of more kinds, not of fewer."""
        was, now = _options(old, self._old), _options(new, self._new)
        if not _same_default(old.get("default"), new.get("default")):
            yield f"{path}: default was {old.get('default')!r} and is {new.get('default')!r}"
        if len(was) == len(now) == 1:
            yield from self._kind(was[0], now[0], path)
            return
        for one in was:
            if all(any(self._kind(one, other, path)) for other in now):
                yield f"{path}: no longer takes {_type(one)}"

    def _kind(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        yield from self._fields(old, new, path)
        for value in _values(old):
            if value not in _values(new):
                yield f"{path}: no longer takes {value!r}"
        for key in ("items", "additionalProperties"):
            if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                yield from self.node(old[key], new[key], f"{path}[]")
        row, other_row = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(row) != len(other_row):
            yield f"{path}: had {len(row)} places and has {len(other_row)}"
        for place, (one, other) in enumerate(zip(row, other_row, strict=False)):
            yield from self.node(one, other, f"{path}[{place}]")
        for key in sorted((new.keys() | old.keys()) - WALKED):
            if not _may_become(key, old.get(key), new.get(key)):
                yield f"{path}: {key} was {old.get(key)!r} and is {new.get(key)!r}"

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        was, now = old.get("properties", {}), new.get("properties", {})
        for name in was.keys() - now.keys():
            yield f"{path}.{name}: removed"
        for name in now.keys() - was.keys():
            if name in new.get("required", []):
                yield f"{path}.{name}: new and without a default"
        for name in was.keys() & now.keys():
            if (name in old.get("required", [])) != (name in new.get("required", [])):
                yield f"{path}.{name}: got or lost its default"
            yield from self.node(was[name], now[name], f"{path}.{name}")


WALKED = {"properties", "required", "$defs", "prefixItems", "enum", "const", "discriminator", "default"}
BOUNDS = {
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
}


def _options(node: Schema, definitions: Schema) -> list[Schema]:
    """The kinds of value that a node takes, each resolved."""
    if "$ref" in node:
        return _options(definitions[node["$ref"].rpartition("/")[2]], definitions)
    several = node.get("anyOf") or node.get("oneOf")
    return [kind for each in several for kind in _options(each, definitions)] if several else [node]


def _values(node: Schema) -> list[object]:
    """What an enumeration takes; one with a single value is written as a constant."""
    return list(node.get("enum", [])) or ([node["const"]] if "const" in node else [])


def _same_default(old: object, new: object) -> bool:
    """A default that is a contract may have got optional fields."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.items() <= new.items()
    return old == new


def _may_become(key: str, old: object, new: object) -> bool:
    """Walked elsewhere, the same, or a bound that was dropped."""
    return old == new or (isinstance(old, dict) and isinstance(new, dict)) or (key in BOUNDS and new is None)


# the page


def page() -> str:
    """Every published contract, then what they are made of."""
    known = published()
    parts = [_section(f"{model.__name__} (`{name}`)", model) for name, model in known.items()]
    inner = sorted(set(_inside(*known.values())) - set(known.values()), key=lambda each: each.__name__)
    parts.append("## What they are made of\n")
    parts += [_section(each.__name__, each) for each in inner if issubclass(each, Contract)]
    parts.append("## Enumerations\n\n| name | values |\n|---|---|")
    parts += [
        f"| {each.__name__} | {', '.join(f'`{value.value}`' for value in each)} |"
        for each in inner
        if issubclass(each, Enum)
    ]
    return HEAD + "\n## Published\n\n" + "\n".join(parts) + "\n"


def _section(title: str, model: type[Contract]) -> str:
    schema, texts = model.model_json_schema(), meanings(model)
    about = f"{cleandoc(model.__doc__)}\n\n" if model.__dict__.get("__doc__") and model.__doc__ else ""
    rows = [f"### {title}\n\n{about}| field | type | default | meaning |\n|---|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        default = "" if name in schema.get("required", []) else f"`{json.dumps(field.get('default'))}`"
        meaning = " ".join(texts.get(name, "").split())
        cells = (f"`{name}`", _type(field), default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _type(node: Schema) -> str:
    if "$ref" in node:
        return str(node["$ref"].rpartition("/")[2])
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    for key in ("anyOf", "oneOf"):
        if key in node:
            return " or ".join(_type(each) for each in node[key])
    match node.get("type"):
        case "array" if "prefixItems" in node:
            text = "(" + ", ".join(_type(each) for each in node["prefixItems"]) + ")"
        case "array":
            text = f"list of {_type(node.get('items', {}))}"
        case "object":
            inner = node.get("additionalProperties")
            text = "map to " + (_type(inner) if isinstance(inner, dict) else "anything")
        case "string" if node.get("format") == "date-time":
            text = "instant"
        case "null":
            text = "none"
        case kind:
            text = str(kind or "anything")
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "maxLength": "at most"}
    return ", ".join([text, *(f"{sign} {node[key]}" for key, sign in signs.items() if key in node)])


def _inside(*models: type[Contract]) -> Iterator[type[Contract] | type[Enum]]:
    """What the fields of the models hold, and theirs."""
    seen: set[Any] = set()
    left: list[Any] = [field.annotation for model in models for field in model.model_fields.values()]
    while left:
        each = left.pop()
        if each in seen:
            continue
        seen.add(each)
        left += get_args(each)
        if isinstance(each, type) and issubclass(each, Enum):
            yield each
        elif isinstance(each, type) and issubclass(each, Contract) and each is not Contract:
            yield each
            left += [field.annotation for field in each.model_fields.values()]


def write() -> None:
    """Raises SystemExit where a contract was changed in a way that only a new version of it may bring."""
    SCHEMAS.mkdir(exist_ok=True)
    for name, model in published().items():
        file, schema = schema_file(name), schema_of(model)
        broken = breaks(json.loads(file.read_text(encoding="utf-8")), schema) if file.exists() else []
        if broken:
            raise SystemExit(
                f"{name} needs a new version (docs/contracts.md, the rule of change):\n" + "\n".join(broken)
            )
        file.write_text(text_of(schema), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write()
