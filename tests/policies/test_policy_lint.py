"""Names in documents that nothing has are found, and only those."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.policies.lint import Names, lint
from watchkeeper.policies.load import PolicySet, from_texts, pack

KNOWN = Names(
    runbooks=frozenset({"fail-over-provider", "throttle-runaway-caller", "cap-token-spend"}),
    agents=frozenset({"remediator/litellm"}),
    target_kinds=frozenset({"key", "deployment", "model_group"}),
)


def a_limit(**match: list[str]) -> PolicySet:
    lines = "".join(f"    {name}: {words}\n" for name, words in match.items())
    head = "apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata:\n  name: l\nspec:\n  autonomy: propose\n"
    return from_texts({"l.yaml": head + ("  match:\n" + lines if lines else "")})


def test_the_shipped_packs_name_only_what_there_is() -> None:
    assert lint(pack("baseline"), KNOWN) == lint(pack("demo"), KNOWN) == []


def test_what_is_not_there_is_named_with_its_place_and_a_suggestion() -> None:
    found = lint(a_limit(runbooks=["fail-over-providr"], agents=["x"], targetKinds=["key", "pod"]), KNOWN)
    assert [(each.place, each.node, each.field) for each in found] == [
        ("l.yaml:4", "limit/l", field) for field in ("agents", "runbooks", "targetKinds")
    ]
    assert 'did you mean "fail-over-provider"' in found[1].message


@given(st.lists(st.sampled_from(sorted(KNOWN.runbooks)), max_size=3), st.booleans())
def test_known_names_and_all_are_never_told(runbooks: list[str], every: bool) -> None:
    named = {"runbooks": runbooks} if runbooks else {}
    documents = a_limit(
        **named, targetKinds=["*"] if every else ["key"], environments=["anything"], services=["at-all"]
    )
    assert lint(documents, KNOWN) == []
