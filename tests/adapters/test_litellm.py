"""What the LiteLLM adapter makes of an action, in the lab: caps never loosen, what is so already is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapters.conformance_suite import action, lab_example
from tests.testbed.labs import open_gateway

from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter
from watchkeeper.core.actions import Intent
from watchkeeper.core.errors import AdapterError, InputError, RefusedError
from watchkeeper.core.model import Scalar


@pytest.mark.parametrize(
    ("intent", "wanted", "expected"),
    [
        (Intent.THROTTLE, {"rpm_limit": 500, "tpm_limit": 10}, {"tpm_limit": (5000, 10)}),
        (Intent.THROTTLE, {"rpm_limit": 100}, {}),
        (Intent.THROTTLE, {"max_parallel_requests": 3}, {"max_parallel_requests": (None, 3)}),
        (Intent.SET_LIMIT, {"rpm_limit": 500}, {"rpm_limit": (100, 500)}),
        (Intent.SET_LIMIT, {"rpm_limit": None}, {"rpm_limit": (100, None)}),
        (Intent.SET_BUDGET, {"max_budget": 9}, {"max_budget": (None, 9.0)}),
        (Intent.BLOCK, {"blocked": False}, {}),
    ],
)
async def test_a_dry_run_holds_what_differs_and_caps_never_loosen(
    tmp_path: Path, intent: Intent, wanted: dict[str, Scalar], expected: dict[str, tuple[Scalar, Scalar]]
) -> None:
    async with open_gateway(tmp_path) as lab, lab_example(lab) as (made, found):
        key = found["key-throttle"].action.target.id
        change = await made.adapter.dry_run(action(intent, "key", key, **wanted))
        assert {field.path: (field.before, field.after) for field in change.fields} == expected
        result = await made.apply(change)
        assert result.code == ("http_200" if expected else "nothing_to_do")


async def test_a_budget_is_never_raised(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, lab_example(lab) as (made, found):
        target = found["key-set_budget"].action.target
        await made.judge.write(target, {"max_budget": 5})
        change = await made.adapter.dry_run(action(Intent.SET_BUDGET, "key", target.id, max_budget=50))
        assert change.fields == ()


async def test_a_change_that_became_unmanageable_is_not_sent(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, lab_example(lab) as (made, found):
        change = await made.change(found["deployment-shift_traffic"])
        row = lab.gateway.store.models["dep-a"]
        lab.gateway.store.models["dep-a"] = row.model_copy(update={"db_model": False})
        effects = await made.judge.effects()
        with pytest.raises(AdapterError, match="model_in_yaml"):
            await made.apply(change)
        assert await made.judge.effects() == effects


async def test_what_cannot_be_done_is_refused_with_its_code_and_fix(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, lab_example(lab) as (made, _):
        with pytest.raises(RefusedError) as raised:
            await made.adapter.dry_run(action(Intent.SHIFT_TRAFFIC, "deployment", "dep-yaml", weight=0))
        assert raised.value.reason == "model_in_yaml"
        assert "POST /model/new" in raised.value.next_step
        with pytest.raises(InputError, match="64 hex digits"):
            await made.adapter.inspect(action(Intent.THROTTLE, "key", "sk-secret").target)
        with pytest.raises(InputError, match="no target kind"):
            await made.adapter.inspect(action(Intent.THROTTLE, "planet", "x").target)


async def test_the_inventory_counts_and_marks(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, lab_example(lab) as (made, _):
        assert isinstance(made.adapter, LiteLLMAdapter)
        inventory = await made.adapter.inventory()
        assert inventory.database
        assert inventory.keys == 1
        assert inventory.groups == ("chat-main", "chat-spare", "chat-yaml")
        assert {one.id: one.why for one in inventory.deployments} == {
            "dep-a": "",
            "dep-b": "",
            "dep-c": "weight_unset",
            "dep-yaml": "model_in_yaml",
        }


async def test_what_we_write_names_us_in_the_gateways_own_journal(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab, lab_example(lab) as (made, found):
        await made.apply(await made.change(found["key-throttle"]))
        assert lab.journal("/key/update")[-1].changed_by == "watchkeeper:pln_kit/0/apply"
