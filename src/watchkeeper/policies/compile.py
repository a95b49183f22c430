"""Documents into a policy: named by its content, indexed for matching.

The version is the digest of all documents' digests, sorted: neither order nor files nor how a duration is spelled.
Matching keeps, per dimension and value, a bit set of the documents that admit it, so ten thousand documents cost seven
look-ups and as many ANDs. It does not say whether a policy is wise: that is `lint`'s and the reviewer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from watchkeeper.core.canonical import canonical
from watchkeeper.core.decisions import ActionRequest, DecisionInput
from watchkeeper.core.digest import sha256
from watchkeeper.core.errors import PolicyError
from watchkeeper.core.model import Labels
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.meets import Meet, Node, meet_of
from watchkeeper.policies.model import ANY, Grant, PolicyDocument
from watchkeeper.policies.terms import Term, terms_of

MAX_DOCUMENTS = 20_000
MAX_MEETS = 4096
"""How many sets of documents a policy keeps the meets of; those of more are made again when they are asked for."""
MAX_WORDS = 32_768
"""For how many sets of words it keeps which meet that is."""
_FORMAT = "watchkeeper.dev/policy/v1"


class _Index:
    """For one dimension: which nodes admit a value, as bit sets over node positions."""

    def __init__(self, admitted: list[tuple[str, ...] | None]) -> None:
        self._any = 0
        self._only: dict[str, int] = {}
        for position, words in enumerate(admitted):
            if words is None or words == (ANY,):
                self._any |= 1 << position
                continue
            for word in words:
                self._only[word] = self._only.get(word, 0) | 1 << position

    def admitting(self, value: str) -> int:
        return self._any | self._only.get(value, 0)


@dataclass(frozen=True)
class Policy:
    """A compiled policy; immutable, and the same for the same documents."""

    version: str
    nodes: tuple[Node, ...]
    rate_windows: tuple[int, ...]
    """The windows in seconds for which a DecisionInput has to bring rates; one that is not brought denies."""
    zones: tuple[str, ...]
    """The time zones of which it has to bring the offsets; windows of one that is not brought are closed."""
    objectives: Mapping[str, tuple[int, ...]]
    """The objectives of which it has to bring the error budgets, with the windows in seconds of their burn rates."""
    asks_promotion: bool
    """Whether any document asks for a person's promotion of the agent."""
    asks_phase: bool
    """Whether any document names phases of a service's rollout."""
    _indexes: tuple[_Index, ...]
    _labelled: int
    """The bit set of nodes that ask for labels of the target."""
    _meets: dict[int, Meet] = field(default_factory=dict, compare=False, repr=False)
    _by_words: dict[Words, Meet] = field(default_factory=dict, compare=False, repr=False)

    def met(self, given: DecisionInput) -> list[Meet]:
        """What the documents that match come to, for each request."""
        return [self.met_at(_words(given, request)) for request in given.requests]

    def met_at(self, words: Words) -> Meet:
        """The same for the words alone that matching looks at; looked up once for them."""
        met = self._by_words.get(words)
        if met is None:
            found = self._look_up(words)
            if len(self._by_words) >= MAX_WORDS:
                self._by_words.clear()
            met = self._by_words[words] = self._meets.get(found) or self._keep(found)
        return met

    def message(self, node: str, rule: str) -> str:
        """What a rule's author tells people; empty for a rule that the policy does not have."""
        found = (each for known in self.nodes if known.name == node for each in known.document.spec.rules)
        return next((each.message for each in found if each.name == rule), "")

    def _keep(self, found: int) -> Meet:
        if len(self._meets) >= MAX_MEETS:
            self._meets.clear()
        made = self._meets[found] = meet_of(self.nodes[at] for at in positions(found))
        return made

    def _look_up(self, words: Words) -> int:
        """The bit set of the nodes that match."""
        found = -1
        for index, word in zip(self._indexes, words[:7], strict=True):
            found &= index.admitting(word)
        for at in positions(found & self._labelled):
            if not _labels_admit(self.nodes[at], words[7]):
                found ^= 1 << at
        return found


Words = tuple[str, str, str, str, str, str, str, Labels]
"""All that matching looks at, in the order of the indexes: environment, service, agent, runbook, intent, kind of the
target, phase, and the target's labels, sorted."""
UNKNOWN = ""
"""The word for a phase that is not known."""


def _words(given: DecisionInput, request: ActionRequest) -> Words:
    scope, target = given.scope, request.target
    return (
        scope.environment,
        scope.service,
        given.agent,
        given.runbook,
        request.intent,
        target.kind,
        given.phase or UNKNOWN,
        target.labels,
    )


def compile_policy(documents: PolicySet) -> Policy:
    """Raises PolicyError when two documents have one name, or there are too many."""
    if len(documents.documents) > MAX_DOCUMENTS:
        raise PolicyError(f"more than {MAX_DOCUMENTS} policy documents", next_step="merge documents that say the same")
    nodes = tuple(sorted((_node(document) for document in documents.documents), key=lambda node: node.name))
    for one, next_one in pairwise(nodes):
        if one.name == next_one.name:
            raise PolicyError(
                f"two documents are named {one.name}",
                place=documents.place(one.name),
                next_step="rename one in metadata.name",
            )
    return Policy(
        version=sha256(canonical({"format": _FORMAT, "documents": [[node.name, node.digest] for node in nodes]})),
        nodes=nodes,
        rate_windows=tuple(sorted({int(k.detail) for node in nodes for k in node.terms if k.term is Term.RATE})),
        zones=tuple(sorted({window.zone for node in nodes for window in node.document.spec.windows})),
        objectives=_objectives(nodes),
        asks_promotion=any(node.document.spec.require_promotion for node in nodes),
        asks_phase=any(node.document.spec.match.phases for node in nodes),
        _indexes=_indexes(nodes),
        _labelled=sum(1 << at for at, node in enumerate(nodes) if node.document.spec.match.target_labels),
    )


def _objectives(nodes: Iterable[Node]) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for node in nodes:
        for budget in node.document.spec.error_budgets:
            windows = found.setdefault(budget.objective, set())
            windows.update(each for burn in (*budget.max_burn, *budget.min_burn) for each in (burn.long, burn.short))
    return {objective: tuple(sorted(windows)) for objective, windows in sorted(found.items())}


def _node(document: PolicyDocument) -> Node:
    return Node(
        name=document.node,
        digest=sha256(document.body()),
        grants=isinstance(document, Grant),
        document=document,
        terms=terms_of(document),
    )


def _indexes(nodes: tuple[Node, ...]) -> tuple[_Index, ...]:
    """In the order in which a policy asks."""
    matches = [node.document.spec.match for node in nodes]
    return (
        _Index([match.environments for match in matches]),
        _Index([match.services for match in matches]),
        _Index([match.agents for match in matches]),
        _Index([match.runbooks for match in matches]),
        _Index([match.intents for match in matches]),
        _Index([match.target_kinds for match in matches]),
        _Index([_phases(node) for node in nodes]),
    )


def _phases(node: Node) -> tuple[str, ...] | None:
    """No Grant follows from a phase that is not known, and no Limit is escaped by it."""
    named = node.document.spec.match.phases
    return named if named is None or node.grants else (*named, UNKNOWN)


def positions(word: int) -> Iterator[int]:
    """Of the nodes in a bit set."""
    while word:
        lowest = word & -word
        yield lowest.bit_length() - 1
        word ^= lowest


def _labels_admit(node: Node, labels: Labels) -> bool:
    """A label the target lacks is unknown: no Grant follows from it, and no Limit is escaped by it."""
    wanted: Mapping[str, tuple[str, ...]] = node.document.spec.match.target_labels
    known = dict(labels)
    for name, words in wanted.items():
        value = known.get(name)
        if value is None:
            if node.grants:
                return False
        elif words != (ANY,) and value not in words:
            return False
    return True
