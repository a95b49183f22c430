"""Policy documents from files, folders and the shipped packs. Errors name file:line.

It reads; whether documents fit together is `compile`'s question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from watchkeeper.core import yamldoc
from watchkeeper.core.errors import NotFoundError, PolicyError, suggest
from watchkeeper.policies.model import KINDS, PolicyDocument

MAX_FILES = 20_000
TESTS = "PolicyTest"
"""Documents that may lie beside a policy and are no part of it: `trials` reads them."""
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class PolicySet:
    """Documents in no particular order. `places` has the file:line of each node name that was read from a file."""

    documents: tuple[PolicyDocument, ...]
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, node: str) -> str:
        return self.places.get(node, "")


def load(*paths: Path) -> PolicySet:
    """Every document in the files, and in the YAML files under the folders. Raises PolicyError."""
    found = [part for name, text in texts(*paths) for part in parse(text, name)]
    return _joined(found, ", ".join(str(path) for path in paths))


def texts(*paths: Path) -> list[tuple[str, str]]:
    """Names and contents of the files, and of the YAML files under the folders. Raises PolicyError."""
    files = sorted({file for path in paths for file in _files(path)})
    if len(files) > MAX_FILES:
        raise PolicyError(f"more than {MAX_FILES} policy files", place=str(paths[0]))
    return [(str(file), _read(file)) for file in files]


def pack(name: str) -> PolicySet:
    """A shipped pack, whole. Raises NotFoundError."""
    return _joined(parse(pack_text(name), f"packs/{name}.yaml"), name)


def pack_names() -> tuple[str, ...]:
    """Every pack that is shipped."""
    return tuple(sorted(_packs()))


def pack_text(name: str) -> str:
    """The file of a shipped pack, with its comments and its tests. Raises NotFoundError."""
    packs = _packs()
    if name not in packs:
        raise NotFoundError(
            f"there is no policy pack {name!r}{suggest(name, packs)}",
            next_step="use one of: " + ", ".join(sorted(packs)),
        )
    return packs[name]


def from_texts(files: Mapping[str, str], where: str = "") -> PolicySet:
    """Documents by file name. Raises PolicyError with file:line. `where`: how a person named the files."""
    found = [part for name in sorted(files) for part in parse(files[name], name)]
    return _joined(found, where or ", ".join(sorted(files)))


def parse(text: str, file: str) -> list[tuple[PolicyDocument, str]]:
    """The documents of one file, each with its place. Raises PolicyError, also for what only one of them has wrong:
    documents are taken whole or not at all."""
    try:
        return [read(each) for each in yamldoc.parse(text, file, PolicyError) if each.kind != TESTS]
    except PolicyError as error:
        raise PolicyError(
            error.what,
            place=error.place,
            cause=error.cause or "the document is not written as docs/policies.md says",
            next_step=error.next_step or f"watchkeeper policy validate {file}",
        ) from error


def read(document: yamldoc.Document) -> tuple[PolicyDocument, str]:
    """One document with its place. Raises PolicyError."""
    kind = document.kind
    if kind not in KINDS:
        kinds = (*KINDS, TESTS)
        raise PolicyError(
            f"kind: must be one of {', '.join(kinds)}{suggest(str(kind), kinds)}", place=document.place(("kind",))
        )
    return document.validate(KINDS[kind], PolicyError), document.place(("metadata", "name"))


def _joined(found: list[tuple[PolicyDocument, str]], where: str) -> PolicySet:
    if not found:
        raise PolicyError(
            "no policy document here",
            place=where,
            cause="the folder is empty or holds no .yaml file",
            next_step="put a Grant there, or use the shipped pack `baseline`",
        )
    return PolicySet(tuple(document for document, _ in found), {document.node: place for document, place in found})


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return [file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()]
    return [path]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PolicyError(f"cannot read the policy file: {why}", place=str(file)) from error


def _packs() -> dict[str, str]:
    folder = resources.files("watchkeeper.policies") / "packs"
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
