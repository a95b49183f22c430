"""The short way to a decision's bytes and its input's digest gives what the long way gives."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.policies.test_invariants import documents, inputs
from tests.testbed.decisions import a_grant, a_limit, a_policy, a_request, an_input

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.decisions import DecisionInput
from watchkeeper.core.digest import digest_of
from watchkeeper.policies.decide import decide, weigh
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.replay.written import decision_bytes, models_below, recorded_digest


@settings(max_examples=300, deadline=None)
@given(documents, inputs)
@example([a_grant(), a_limit(caps={"maxBlastShare": 1e-7})], an_input(a_request(blast_population=3)))
@example([a_grant(minConfidence=0.5)], an_input(confidence=5e-324))
@example([a_grant(caps={"cooldown": "30s"})], an_input(a_request(seconds_since_last=1e21)))
@example([], an_input().model_copy(update={"requests": ()}))
def test_a_decision_put_together_from_parts_is_the_decision(known: list[PolicyDocument], asked: DecisionInput) -> None:
    policy = a_policy(*known)
    digest = recorded_digest(canonical_model(asked))
    assert digest == digest_of(asked)
    assert decision_bytes(weigh(policy, asked), policy.version, digest) == canonical_model(decide(policy, asked))


names = st.text(max_size=30) | st.sampled_from(
    (
        ',"rates":[]',
        '"conflicts":[]',
        ',"labels":[],',
        '\\",\\"protected\\":false',
        '\\\\,"running_fleet":0',
        "\x7f\u2028é",
    )
)


@given(inputs, names, names, names)
def test_no_name_can_pass_for_a_default(asked: DecisionInput, service: str, agent: str, target: str) -> None:
    changed = asked.model_copy(
        update={
            "scope": asked.scope.model_copy(update={"service": service}),
            "agent": agent,
            "requests": tuple(
                each.model_copy(
                    update={"target": each.target.model_copy(update={"id": target, "labels": ((agent, target),)})}
                )
                for each in asked.requests
            ),
        }
    )
    assert recorded_digest(canonical_model(changed)) == digest_of(changed)


def test_what_is_left_out_has_one_meaning_and_something_before_it() -> None:
    """What the digest of the recorded bytes rests on; a new field of the input that breaks it needs another name."""
    models = set(models_below(DecisionInput))
    optional = [
        (name, model) for model in models for name, field in model.model_fields.items() if not field.is_required()
    ]
    named = [name for model in models for name in model.model_fields]
    assert all(named.count(name) == 1 for name, _ in optional)
    assert all(name != min(model.model_fields) for name, model in optional)


def test_only_the_models_of_the_input_are_looked_at() -> None:
    models: set[type[BaseModel]] = set(models_below(DecisionInput))
    assert {model.__name__ for model in models} == {
        "DecisionInput",
        "Scope",
        "ActionRequest",
        "Target",
        "RateCount",
        "AgentStanding",
        "VerificationFacts",
        "ZoneOffset",
        "BudgetReading",
        "Burn",
    }
