"""Names in policy documents that nothing has: a Grant with one gives nothing, a Limit with one holds nothing back.

What there is (runbooks, agents, kinds of targets) is handed in: policies know none of them. Environments and services
are a team's own words and are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from watchkeeper.core.errors import suggest
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.model import ANY, PolicyDocument


@dataclass(frozen=True)
class Names:
    """All that exists, by the field of `match` that may name it."""

    runbooks: frozenset[str]
    agents: frozenset[str]
    target_kinds: frozenset[str]


@dataclass(frozen=True)
class UnknownName:
    """`place` is file:line of the document's name."""

    place: str
    node: str
    field: str
    message: str


def lint(documents: PolicySet, known: Names) -> list[UnknownName]:
    """In order of the documents' names."""
    found = [each for document in documents.documents for each in _of(document, documents.place(document.node), known)]
    return sorted(found, key=lambda each: (each.node, each.field, each.message))


def _of(document: PolicyDocument, place: str, known: Names) -> Iterator[UnknownName]:
    match = document.spec.match
    fields = (
        ("runbooks", match.runbooks, known.runbooks),
        ("agents", match.agents, known.agents),
        ("targetKinds", match.target_kinds, known.target_kinds),
    )
    for field, words, names in fields:
        for word in words or ():
            if word != ANY and word not in names:
                text = f"spec.match.{field}: there is no {word!r}{suggest(word, names)}"
                yield UnknownName(place, document.node, field, text)
