"""The language of policy documents as JSON Schema (draft 2020-12), for editors: drawn from the models that read them.

What it refuses, the loader refuses. Not the other way round: what one value means for another (an end before its
start, an expression that is no CEL, a name that is written twice) only the loader knows.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from pydantic import BaseModel, JsonValue
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from watchkeeper.core.errors import NotFoundError, suggest
from watchkeeper.core.manifest import API_VERSION, Manifest
from watchkeeper.core.meanings import meanings
from watchkeeper.policies.load import TESTS
from watchkeeper.policies.model import KINDS
from watchkeeper.policies.trials.model import PolicyTest

DRAFT = GenerateJsonSchema.schema_dialect
DOCUMENTS: dict[str, type[Manifest]] = {**KINDS, TESTS: PolicyTest}
"""Every kind of document that may stand in a file of policies."""
_NAME = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")
_Schema = dict[str, Any]


def schema(kind: str | None = None) -> dict[str, JsonValue]:
    """Of one kind of document, or of whichever it says to be. Raises NotFoundError."""
    if kind is not None and kind not in DOCUMENTS:
        raise NotFoundError(
            f"there is no kind of policy document {kind[:60]!r}{suggest(kind, DOCUMENTS)}",
            next_step="use one of: " + ", ".join(DOCUMENTS),
        )
    kinds = DOCUMENTS if kind is None else {kind: DOCUMENTS[kind]}
    _, made = models_json_schema(
        [(model, "validation") for model in kinds.values()], by_alias=True, schema_generator=_Drawn
    )
    return {
        "$schema": DRAFT,
        "title": "Watchkeeper policy document" if kind is None else f"Watchkeeper {kind}",
        **(_whichever() if kind is None else {"$ref": f"#/$defs/{DOCUMENTS[kind].__name__}"}),
        "$defs": {name: _plain(each) for name, each in made["$defs"].items()},
    }


def text(kind: str | None = None) -> str:
    """As it is kept in a file."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def _whichever() -> dict[str, JsonValue]:
    """By its kind, so that an editor tells what is wrong with this kind and not with every other."""
    return {
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of the language."},
            "kind": {"enum": list(DOCUMENTS), "description": "What the document is."},
        },
        "allOf": [
            {
                "if": {"required": ["kind"], "properties": {"kind": {"const": kind}}},
                "then": {"$ref": f"#/$defs/{model.__name__}"},
            }
            for kind, model in DOCUMENTS.items()
        ],
    }


class _Drawn(GenerateJsonSchema):
    """With the texts under the fields, defaults as they are written, and no titles that only repeat names."""

    def model_schema(self, schema: core_schema.ModelSchema) -> _Schema:
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        told = meanings(model)
        for name, field in model.model_fields.items():
            drawn = made["properties"][field.alias or name]
            drawn.pop("title", None)
            if name in told:
                drawn["description"] = _prose(told[name])
            if not field.is_required():
                default = field.get_default(call_default_factory=True)
                drawn["default"] = _written(model, name, default)
        made.pop("title", None)
        if "description" in made:
            made["description"] = _prose(made["description"])
        return made


def _plain(made: _Schema) -> _Schema:
    """Words that one of may be written need no name of their own, and what our code says of them is for our code."""
    return {key: each for key, each in made.items() if "enum" not in made or key not in ("title", "description")}


def _written(model: type[BaseModel], name: str, default: object) -> JsonValue:
    """A default in the words of a document; of a section what it says."""
    if isinstance(default, BaseModel):
        return cast(JsonValue, default.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    said = model.model_construct(None, **{name: default}).model_dump(mode="json", include={name}, warnings=False)
    return cast(JsonValue, said[name])


def _prose(told: str) -> str:
    """One line, with keys as a document has them."""
    return _NAME.sub(lambda found: f"`{to_camel(found[1])}`", " ".join(told.split()))
