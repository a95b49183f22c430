from __future__ import annotations

from collections import Counter as Bag

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.signals.wire_samples import AT

from watchkeeper.core.signals import ErrorClass
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.litellm_inventory import Inventory
from watchkeeper.signals.litellm_metrics import FAILURE, MAX_CALLS, STATE, SUCCESS, Counters, Point, points, states

NAMES = frozenset((STATE, SUCCESS, FAILURE))
INVENTORY = Inventory(
    providers={"xa": "127.0.0.1:1", "xb": "127.0.0.1:2"},
    upstream_names={"xa": "fake", "xb": "fake"},
    groups=frozenset({"gpt-x"}),
)
EXPOSITION = r"""# HELP litellm_deployment_state The state
# TYPE litellm_deployment_state gauge
litellm_deployment_state{api_base="http://a:1/v1",litellm_model_name="fake",model_id="xa"} 1.0
litellm_deployment_state{api_base="http://a:1/v1",litellm_model_name="gpt-x",model_id="xa"} 2.0
litellm_deployment_state{litellm_model_name="fake",model_id="xb"} 0.0 1700000000000
litellm_deployment_state{litellm_model_name="fake",model_id="None"} 2.0
litellm_deployment_state{litellm_model_name="fake",model_id="xc"} NaN
litellm_deployment_state{broken
litellm_deployment_success_responses_total{api_key_alias="a \"b\", {c}\n\\",model_id="xa"} 3.0
litellm_deployment_successful_fallbacks_total{model_id="xa"} 9.0
process_start_time_seconds 1.7e+09
"""


def test_the_exposition_format_is_read_as_it_is_written() -> None:
    found = list(points(EXPOSITION, NAMES))
    assert [point.value for point in found] == [1.0, 2.0, 0.0, 2.0, 3.0]
    assert found[-1].labels["api_key_alias"] == 'a "b", {c}\n\\'


def test_the_state_of_a_deployment_is_not_the_series_by_group() -> None:
    found = states(points(EXPOSITION, NAMES), INVENTORY, "litellm/main/metrics", AT)
    assert [(sample.subject, sample.value) for sample in found] == [
        (Subject(kind=SubjectKind.DEPLOYMENT, id="xa"), 1.0),
        (Subject(kind=SubjectKind.DEPLOYMENT, id="xb"), 0.0),
    ]
    assert len({sample.id for sample in found}) == 2


def test_a_group_named_like_its_upstream_model_has_one_series_and_it_counts() -> None:
    inventory = Inventory(upstream_names={"xa": "gpt-x"}, groups=frozenset({"gpt-x"}))
    point = Point(STATE, {"litellm_model_name": "gpt-x", "model_id": "xa"}, 2.0)
    assert [sample.value for sample in states([point], inventory, "s", AT)] == [2.0]
    assert states([point], Inventory(groups=frozenset({"gpt-x"})), "s", AT) == ()


def served(count: float, deployment: str = "xa") -> Point:
    return Point(SUCCESS, {"model_id": deployment, "api_provider": "openai"}, count)


def broken(
    count: float, status: str = "500", kind: str = "Openai.InternalServerError", deployment: str = "xa"
) -> Point:
    return Point(FAILURE, {"model_id": deployment, "exception_status": status, "exception_class": kind}, count)


def test_what_was_counted_before_the_first_poll_is_not_told() -> None:
    counters = Counters("main", "s")
    counters.settle(counters.read([served(1_000)], INVENTORY, AT))
    assert counters.read([served(1_000)], INVENTORY, AT).calls == ()
    calls = counters.read([served(1_002), broken(1)], INVENTORY, AT).calls
    assert Bag(call.error for call in calls) == {None: 2, ErrorClass.SERVER: 1}
    assert {call.provider for call in calls} == {"127.0.0.1:1"}
    assert {(call.key, call.model_group, call.deployment) for call in calls} == {("", "", "xa")}
    assert len({call.id for call in calls}) == len({call.call_id for call in calls}) == 3


def test_a_poll_that_was_not_settled_is_told_again_by_the_same_ids() -> None:
    counters = Counters("main", "s")
    counters.settle(counters.read([], INVENTORY, AT))
    first = counters.read([served(2)], INVENTORY, AT)
    again = counters.read([served(3)], INVENTORY, AT)
    assert {call.id for call in first.calls} < {call.id for call in again.calls}
    counters.settle(again)
    assert counters.read([served(3)], INVENTORY, AT).calls == ()


@pytest.mark.parametrize("between", [[served(1)], []])
def test_a_restarted_gateway_counts_anew_and_its_calls_are_new(between: list[Point]) -> None:
    counters = Counters("main", "s")
    ids: list[str] = []
    for found in ([], [served(3)], between, [served(4)]):
        counted = counters.read(found, INVENTORY, AT)
        ids += [call.id for call in counted.calls]
        counters.settle(counted)
    assert len(ids) == len(set(ids)) == 3 + 4


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        ("500", "Openai.InternalServerError", ErrorClass.SERVER),
        ("429", "Openai.RateLimitError", ErrorClass.RATE_LIMITED),
        ("408", "Openai.Timeout", ErrorClass.TIMEOUT),
        ("401", "Openai.AuthenticationError", ErrorClass.AUTH),
        ("None", "Openai.APIConnectionError", ErrorClass.SERVER),
    ],
)
def test_the_class_of_a_counted_failure(status: str, kind: str, expected: ErrorClass) -> None:
    counters = Counters("main", "s")
    counters.settle(counters.read([], INVENTORY, AT))
    (call,) = counters.read([broken(1, status, kind)], INVENTORY, AT).calls
    assert call.error is expected


def test_invariant_12_refusals_of_the_gateway_itself_are_not_counted() -> None:
    counters = Counters("main", "s")
    counters.settle(counters.read([], INVENTORY, AT))
    assert counters.read([broken(7, "429", "HTTPException", deployment="")], INVENTORY, AT).calls == ()
    assert counters.read([broken(7, "None", "Exception", deployment="None")], INVENTORY, AT).calls == ()
    for kind in ("HTTPException", "ProxyRateLimitError", "Openai.ProxyRateLimitError", "None"):
        assert counters.read([broken(7, "429", kind)], INVENTORY, AT).calls == ()


@given(counts=st.lists(st.integers(0, 400), min_size=1, max_size=12), failures=st.integers(0, 3_000))
def test_calls_of_a_poll_are_bounded_and_keep_the_share_of_failures(counts: list[int], failures: int) -> None:
    counters = Counters("main", "s")
    counters.settle(counters.read([], INVENTORY, AT))
    found = [served(count, f"d{number}") for number, count in enumerate(counts)]
    counted = counters.read([*found, broken(failures)], INVENTORY, AT)
    total, told = sum(counts) + failures, len(counted.calls)
    assert told == min(total, MAX_CALLS)
    assert counted.left_out == total - told
    bad = sum(call.error is not None for call in counted.calls)
    assert abs(bad - (failures * told / total if total else 0)) <= 1
