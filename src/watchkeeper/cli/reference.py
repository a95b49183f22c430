"""Every setting, drawn from the models themselves, so that docs/settings.md cannot say anything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from watchkeeper.core.meanings import meanings
from watchkeeper.daemon.settings import Settings
from watchkeeper.daemon.variables import PREFIX

HEAD = """# Settings

One YAML file (`--config`, or `WATCHKEEPER_CONFIG`), overridden by variables: `a.b` is `WATCHKEEPER_A__B`, an item of
a list is counted from 0 (`WATCHKEEPER_GATEWAYS__0__NAME`), and a name that you chose yourself keeps its case
(`WATCHKEEPER_GATEWAYS__0__FALLBACKS__gpt-4__0`). A secret may be given as a file: `admin_key_file: PATH` instead of
`admin_key`, in a variable `..._ADMIN_KEY_FILE`; both in one source is an error, and so is an empty one. A variable
stands in the place of what the file says, in either spelling. An unknown key is an error; what Kubernetes puts into
containers for a service named `watchkeeper` (`WATCHKEEPER_PORT=tcp://...`, `WATCHKEEPER_SERVICE_HOST`, ...) is not
ours and ignored. This page is made by `watchkeeper config reference`.

| setting | type | default | meaning |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Setting:
    name: str
    variable: str
    type: str
    default: str
    meaning: str


def settings() -> list[Setting]:
    return list(_settings(Settings, ""))


def markdown() -> str:
    rows = [
        f"| `{each.name}` | {_cell(each.type)} | {_cell(each.default)} | {_cell(each.meaning)} |" for each in settings()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _settings(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    texts = meanings(model)
    for name, field in model.model_fields.items():
        path = prefix + name
        inner, many = _inner(field.annotation)
        for each in inner:
            yield from _settings(each, path + {"one": ".", "list": "[].", "map": ".NAME."}[many])
        if inner:
            continue
        secret = SecretStr in (field.annotation, *get_args(field.annotation))
        variable = PREFIX + path.upper().replace("[]", "__0").replace(".", "__")
        yield Setting(
            name=path,
            variable=variable,
            type=_type(field.annotation) + (" (also as `_file`)" if secret else ""),
            default="required" if field.is_required() else _default(field),
            meaning=" ".join(texts.get(name, "").split()),
        )


def _inner(annotation: Any) -> tuple[list[type[BaseModel]], str]:
    """The models that a setting may hold, the one or the other: once, in a list, or by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], "one"
    if hasattr(annotation, "__metadata__"):
        return _inner(annotation.__origin__)
    origin, many = get_origin(annotation), "one"
    if origin in (tuple, list):
        many = "list"
    elif origin is dict:
        many = "map"
    return [model for argument in get_args(annotation) for model in _inner(argument)[0]], many


def _type(annotation: Any) -> str:
    if annotation is SecretStr:
        return "secret"
    if hasattr(annotation, "__metadata__"):
        return _type(annotation.__origin__)
    arguments = [_type(each) for each in get_args(annotation) if each not in (type(None), ...)]
    origin = get_origin(annotation)
    if origin is tuple:
        return f"list of {arguments[0]}"
    if origin is dict:
        return f"map of {arguments[0]} to {arguments[1]}"
    if arguments:
        return " or ".join(arguments)
    return str(getattr(annotation, "__name__", annotation)).lower()


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, tuple):
        return "`" + ", ".join(map(str, value)) + "`"
    return f"`{value}`"
