"""The files of helm/watchkeeper that are made from something else: `python -m tests.helm.chartfiles` writes them.

- files/permissions.yaml: what each intent needs, from what the Kubernetes adapter declares
- values.schema.json, `config` and the intents: from the settings and the capabilities; the rest is written by hand
- README.md, the table of values: from values.yaml and the descriptions in the schema

A test compares. The schema of `config` says less than the settings do (no patterns, no checks across fields, nothing is
required): what it lets through, the daemon may still refuse at its start.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from watchkeeper.adapters.catalog import system
from watchkeeper.adapters.kubernetes.permissions import Rule
from watchkeeper.daemon.settings import Settings
from watchkeeper.daemon.variables import is_secret

CHART = Path(__file__).resolve().parents[2] / "helm" / "watchkeeper"
PERMISSIONS, SCHEMA, README = CHART / "files/permissions.yaml", CHART / "values.schema.json", CHART / "README.md"
OWNED = ("data_dir", "api", "database")
"""Settings that the chart decides: one pod, SQLite on its volume."""
NOT_EDITED = "# Made by `python -m tests.helm.chartfiles` from what the Kubernetes adapter declares: do not edit.\n"
_TABLE = re.compile(r"(?<=<!-- values -->\n).*?(?=<!-- end -->)", re.DOTALL)
_KEPT = ("type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "maxItems")
"""No patterns: helm reads them as Go does, Python's are not all among those."""


def permissions() -> str:
    """Intent → scope → rules, each of one resource."""
    document: dict[str, dict[str, list[dict[str, Any]]]] = {}
    capabilities = system("kubernetes").capabilities
    for intent in sorted({each.intent for each in capabilities}):
        verbs: dict[tuple[bool, str, str], set[str]] = defaultdict(set)
        for name in {name for each in capabilities if each.intent == intent for name in each.permissions}:
            rule = Rule.of(name)
            verbs[rule.cluster_wide, rule.group, rule.resource].add(rule.verb)
        scopes: dict[str, list[dict[str, Any]]] = {}
        for (wide, group, resource), wanted in sorted(verbs.items()):
            one = {"group": group, "resource": resource, "verbs": sorted(wanted)}
            scopes.setdefault("nodes" if wide else "namespaces", []).append(one)
        document[str(intent)] = scopes
    return NOT_EDITED + yaml.safe_dump(document, sort_keys=False)


def schema(written: str) -> str:
    """`written` with its generated parts made anew."""
    document = json.loads(written)
    made = Settings.model_json_schema()
    models = {"Settings": {name: made[name] for name in made if name != "$defs"}, **made["$defs"]}
    owners = _models(Settings)
    document["$defs"] = {name: _closed(model, owners.get(name)) for name, model in sorted(models.items())}
    for name in OWNED:
        del document["$defs"]["Settings"]["properties"][name]
    del document["$defs"]["DatabaseSettings"], document["$defs"]["ApiSettings"]
    intents = sorted({str(each.intent) for each in system("kubernetes").capabilities})
    document["properties"]["actIn"]["properties"]["intents"]["items"] = {"enum": intents}
    return json.dumps(document, indent=2) + "\n"


def readme(written: str) -> str:
    """`written` with its table of values made anew."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    described = json.loads(SCHEMA.read_text())
    rows = [f"| `{name}` | `{json.dumps(default)}` | {text} |" for name, default, text in _rows(values, described, "")]
    table = "\n".join(["| value | default | meaning |", "|---|---|---|", *rows]) + "\n"
    return _TABLE.sub(lambda _: table, written)


def _rows(values: dict[str, Any], described: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, value in values.items():
        own = described["properties"][name]
        if "description" in own:
            yield prefix + name, value, own["description"]
        else:
            yield from _rows(value, own, f"{prefix}{name}.")


def _closed(model: dict[str, Any], owner: type[BaseModel] | None) -> dict[str, Any]:
    """One model without what only documents it, and without what must be there: settings inherit from each other.
    A secret is given as a file, never as a value."""
    if owner is None:
        return _plain(model)
    properties = {}
    for name, value in model.get("properties", {}).items():
        if is_secret((name,), owner):
            properties[f"{name}_file"] = {"type": "string", "minLength": 1}
        else:
            properties[name] = _plain(value)
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: value[name] for name in _KEPT if name in value}
    if "$ref" in value:
        kept["$ref"] = value["$ref"]
    if "anyOf" in value:
        kept["anyOf"] = [_plain(each) for each in value["anyOf"]]
    if "items" in value:
        kept["items"] = _plain(value["items"])
    if "prefixItems" in value:
        kept["prefixItems"] = [_plain(each) for each in value["prefixItems"]]
    if isinstance(value.get("additionalProperties"), dict):
        kept["additionalProperties"] = _plain(value["additionalProperties"])
    return kept


def _models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """By name, with all that lie in it."""
    found = {model.__name__: model}
    for field in model.model_fields.values():
        for inner in _inside(field.annotation):
            found |= _models(inner)
    return found


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _inside(each)


def write() -> None:
    PERMISSIONS.write_text(permissions())
    SCHEMA.write_text(schema(SCHEMA.read_text()))
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    write()
