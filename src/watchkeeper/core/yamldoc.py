"""YAML text into JSON-like data that remembers where each value stands, and models whose errors say file:line.

The dialect is small on purpose: YAML 1.2's core scalars (`on`, `no` and dates stay text), keys are strings and unique,
no anchors, aliases, merge keys or tags (what is written is what is meant, and nothing can blow up), bounded in size,
depth and nodes. It reads text, not files, and it keeps no comments. Error texts name keys and places, never values.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, JsonValue, ValidationError

from watchkeeper.core.errors import InputError, suggest

MAX_CHARS = 1_048_576
MAX_NODES = 200_000
MAX_DEPTH = 40
MAX_REPORTED = 10

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, JsonValue] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Document:
    """One document of a file. `lines` has the line of every key and item; the root's is the document's first."""

    file: str
    data: JsonValue
    lines: Mapping[Path, int]

    @property
    def kind(self) -> str | None:
        """What it says it is."""
        kind = self.data.get("kind") if isinstance(self.data, dict) else None
        return kind if isinstance(kind, str) else None

    def place(self, path: Path = ()) -> str:
        """`file:line` of the value, or of its nearest ancestor that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines.get(path, 1)}"

    def validate(self, model: type[Model], error: type[InputError] = InputError) -> Model:
        """A value is taken as it is written: `"3"` is no number, and `1` no flag."""
        return validate_data(self.data, model, self.place, error, strict=True)


def parse(text: str, file: str, error: type[InputError] = InputError) -> tuple[Document, ...]:
    """All documents of a file; empty ones are left out. Raises `error` with file:line."""
    if len(text) > MAX_CHARS:
        raise error(f"the file is larger than {MAX_CHARS} characters", place=file)
    return tuple(_Builder(file, error).documents(text))


def parse_one(text: str, file: str, error: type[InputError] = InputError) -> Document:
    """The only document of a file; an empty file is an empty mapping."""
    documents = parse(text, file, error)
    if len(documents) > 1:
        raise error("the file holds more than one document", place=documents[1].place())
    return documents[0] if documents else Document(file, {}, {})


def validate(text: str, file: str, model: type[Model], error: type[InputError] = InputError) -> Model:
    """The file's only document as a model. Raises `error` with file:line, JSON path and suggestions."""
    return parse_one(text, file, error).validate(model, error)


def validate_data(
    data: JsonValue,
    model: type[Model],
    place: Callable[[Path], str],
    error: type[InputError] = InputError,
    *,
    strict: bool = False,
) -> Model:
    """`data` as a model; `place` tells where a path was written (a file's line, an environment variable, whose values
    are all text: hence not always `strict`)."""
    try:
        # as JSON, whose lists and names of enumerations are strict enough for tuples and enumerations
        return model.model_validate_json(json.dumps(data), strict=True) if strict else model.model_validate(data)
    except ValidationError as failed:
        problems = [_problem(item, data, model) for item in _causes(failed.errors(include_url=False))]
    shown = problems[:MAX_REPORTED]
    (at, what), *rest = ((place(path), text) for path, text in shown)
    lines = [what, *(f"{where}: {text}" for where, text in rest)]
    if len(problems) > len(shown):
        lines.append(f"and {len(problems) - len(shown)} more")
    refused = error("\n".join(lines), place=at)
    refused.others = tuple(rest)
    raise refused


def path_text(path: Path) -> str:
    """`spec.actions[0].intent`; the root is `(document)`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(document)"


class _Builder:
    """Builds documents from parser events: no recursion on input, so depth is ours to bound."""

    def __init__(self, file: str, error: type[InputError]) -> None:
        self._file, self._error = file, error
        self._lines: dict[Path, int] = {}
        self._nodes = 0

    def documents(self, text: str) -> Iterator[Document]:
        try:
            events = yaml.parse(text, Loader=_LOADER)
            for event in events:
                if isinstance(event, yaml.DocumentStartEvent):
                    self._lines = {}
                    data = self._value(next(events), events, ())
                    if data is not None:
                        yield Document(self._file, data, self._lines)
        except yaml.MarkedYAMLError as failed:
            mark = failed.problem_mark or failed.context_mark
            line = mark.line + 1 if mark else 1
            raise self._error(
                f"not YAML: {failed.problem or failed.context}",
                next_step=_hint(text, line),
                place=f"{self._file}:{line}",
            ) from failed
        except yaml.YAMLError as failed:
            found = yaml.reader.Reader.NON_PRINTABLE.search(text)
            line = text.count("\n", 0, found.start()) + 1 if found else 1
            place = f"{self._file}:{line}"
            raise self._error("not YAML: a character that YAML does not allow", place=place) from failed

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> JsonValue:
        self._check(event, path)
        self._lines.setdefault(path, _line(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[JsonValue] = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                items.append(self._value(event, events, (*path, len(items))))
            return items
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        raise self._refuse(event, "not a value", "check the brackets and the indentation")

    def _mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            self._check(event, path)
            key = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(key, str):
                raise self._refuse(event, "a key must be text", "put the key in quotes")
            if key in found:
                raise self._refuse(event, f"the key {key!r} is written twice in {path_text(path)}", "keep one of them")
            self._lines[(*path, key)] = _line(event)
            found[key] = self._value(next(events), events, (*path, key))
        return found

    def _check(self, event: yaml.Event, path: Path) -> None:
        self._nodes += 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._refuse(event, "anchors and aliases are not used here", "write the value out")
        if getattr(event, "tag", None):
            raise self._refuse(event, "tags are not used here", "remove the word that starts with !")
        if len(path) > MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels", "flatten the document")
        if self._nodes > MAX_NODES:
            raise self._refuse(event, f"more than {MAX_NODES} values", "split the file")

    def _scalar(self, event: yaml.ScalarEvent) -> JsonValue:
        text: str = event.value
        if event.style:  # quoted or a block
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self._refuse(event, "a number out of range", "write a smaller number, or quote it")
            return number
        return text

    def _refuse(self, event: yaml.Event, what: str, next_step: str) -> InputError:
        return self._error(what, next_step=next_step, place=f"{self._file}:{_line(event)}")


def _hint(text: str, number: int) -> str:
    """What most likely is wrong with a line that no parser reads."""
    line = next(islice(text.splitlines(), number - 1, None), "")
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces: YAML takes no tabs"
    if re.search(r"[\[,:]\s*\*", line):
        return 'put the star in quotes: "*"'
    return "check the brackets, the quotes and the indentation here and on the line before"


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _causes(errors: Sequence[Any]) -> list[Any]:
    """Without what only follows: a list whose items are wrong is then "too short" as well."""
    places = [error["loc"] for error in errors]

    def follows(error: Any) -> bool:
        loc = error["loc"]
        return error["type"] == "too_short" and any(at[: len(loc)] == loc and at != loc for at in places)

    return [error for error in errors if not follows(error)]


def _problem(item: Any, data: JsonValue, model: type[BaseModel]) -> tuple[Path, str]:
    """Where a pydantic error is in the data, and what to tell."""
    kind, loc, given = item["type"], item["loc"], item["input"]
    if kind == "missing":
        return _written(loc[:-1], data), f"{path_text((*_written(loc[:-1], data), loc[-1]))}: required, but not given"
    path = _written(loc, data)
    if kind == "extra_forbidden":
        return path, f"{path_text(path)}: {unknown_key(model, loc)}"
    context = item.get("ctx", {})
    if kind == "union_tag_not_found":
        missing = path_text((*path, context["discriminator"].strip("'")))
        return path, f"{missing}: required, but not given"
    if kind == "union_tag_invalid":
        path = _written((*path, context["discriminator"].strip("'")), data)
        text = f"must be one of {context['expected_tags']}{closest(context['tag'], context['expected_tags'])}"
        return path, f"{path_text(path)}: {text}"
    text = item["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    if kind == "too_short":
        text = f"write at least {context['min_length']}"
    if kind == "string_pattern_mismatch":
        text = f"must match the pattern {context['pattern']}"
    if kind in ("enum", "literal_error") and isinstance(given, str):
        text += closest(given, context["expected"])
    if kind == "string_type" and isinstance(given, bool | int | float):
        text += " (put it in quotes)"
    return path, f"{path_text(path)}: {text}"


def closest(given: str, expected: str) -> str:
    """A suggestion from pydantic's list of expected values (`'a', 'b' or 'c'`)."""
    return suggest(given, re.findall(r"'([^']+)'", expected))


def _written(loc: tuple[str | int, ...], data: JsonValue) -> Path:
    """The part of a pydantic location that is in the data: names of union members and validators are left out."""
    path: list[str | int] = []
    here = data
    for part in loc:
        match here:
            case dict() if isinstance(part, str) and part in here:
                here = here[part]
                path.append(part)
            case list() if isinstance(part, int) and part < len(here):
                here = here[part]
                path.append(part)
    return tuple(path)


def unknown_key(model: type[BaseModel], loc: Sequence[str | int]) -> str:
    """What is told of a key that nothing takes; its own name is the end of `loc`."""
    known = _known(model, loc[:-1])
    hint = suggest(str(loc[-1]), known) or (f" (known here: {', '.join(sorted(known))})" if known else "")
    return f"unknown key{hint}"


def _known(model: type[BaseModel], loc: Iterable[str | int]) -> set[str]:
    """The keys that a model takes at a location, for suggestions."""
    here = {model}
    for part in loc:
        named = [
            field.annotation
            for candidate in here
            for name, field in candidate.model_fields.items()
            if part in (name, field.alias)
        ]
        here = {found for annotation in named for found in _models(annotation)} or here
    return {field.alias or name for candidate in here for name, field in candidate.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
