"""The LiteLLM adapter against the real proxy: with PostgreSQL for every clause, from YAML alone for what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import yaml
from tests.adapters.conformance_suite import (
    ALL_CASES,
    LiteLLMJudge,
    Things,
    action,
    example,
)

from watchkeeper.adapters.conformance import CLAUSES, Clause, covers_every_capability
from watchkeeper.adapters.kit import INCIDENT, Case, Example, Refused
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter
from watchkeeper.adapters.recorder import under
from watchkeeper.core.actions import Intent

if TYPE_CHECKING:
    from pathlib import Path

    from tests.testbed.litellm import Installation, LiteLLM
    from tests.testbed.postgres import PostgresServer

pytestmark = pytest.mark.peer

STATE_CLAUSES = 5
"""The first ones are about what is written; the others about faults, which do not depend on the field."""
WRITE_PATHS = ("key-throttle", "deployment-shift_traffic", "model_group-set_fallback")
NOWHERE = "http://127.0.0.1:9/v1"


@asynccontextmanager
async def real_example(litellm: LiteLLM) -> AsyncIterator[tuple[Example, dict[str, Case]]]:
    """Fresh deployments, key and team under names of their own; gone again afterwards."""
    tag = uuid4().hex[:8]
    groups = [f"kit-{name}-{tag}" for name in ("main", "spare", "third")]
    deployments = [f"{groups[0]}-a", f"{groups[0]}-b", f"{groups[1]}-a", f"{groups[2]}-a"]

    async def prepare(judge: LiteLLMJudge) -> Things:
        for deployment in deployments:
            litellm.admin.add_deployment(deployment.rpartition("-")[0], deployment, NOWHERE)
        team = await judge.call("POST", "/team/new", team_alias=f"kit-{tag}", rpm_limit=100, tpm_limit=5000)
        key = litellm.admin.new_key(f"kit-{tag}", rpm_limit=100, tpm_limit=5000)
        return Things(key.hash, deployments[0], groups[0], groups[1], groups[2], team=str(team["team_id"]))

    refused = (
        Refused(action(Intent.SET_FALLBACK, "model_group", groups[0], fallbacks="nowhere"), "unknown_group"),
        Refused(action(Intent.SHIFT_TRAFFIC, "deployment", deployments[2], weight=0), "only_deployment"),
    )
    try:
        async with example(litellm.base_url, litellm.admin_key, prepare, refused, reply_s=6.0) as (made, found):
            yield made, found
    finally:
        litellm.admin.call("DELETE", f"/fallback/{groups[0]}")
        for deployment in deployments:
            litellm.admin.delete_deployment(deployment)


@pytest.mark.parametrize("clause", CLAUSES[:STATE_CLAUSES], ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", ALL_CASES)
async def test_litellm_adapter_writes_as_it_says(litellm: LiteLLM, clause: Clause, name: str) -> None:
    async with real_example(litellm) as (made, found):
        await clause(made, found[name])


@pytest.mark.parametrize("clause", CLAUSES[STATE_CLAUSES:], ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", WRITE_PATHS)
async def test_litellm_adapter_survives_faults_at_the_real_proxy(litellm: LiteLLM, clause: Clause, name: str) -> None:
    async with real_example(litellm) as (made, found):
        await clause(made, found[name])


async def test_every_capability_has_a_case(litellm: LiteLLM) -> None:
    async with real_example(litellm) as (made, _):
        covers_every_capability(made)


async def test_the_inventory_tells_what_can_be_managed(litellm: LiteLLM) -> None:
    async with real_example(litellm) as (made, found):
        state = await made.adapter.inspect(found["deployment-shift_traffic"].action.target)
        assert state.population >= 4
        key = await made.adapter.inspect(found["key-throttle"].action.target)
        assert key.population >= 1
        assert {field.path for field in key.fields if not field.manageable} == {"spend"}


async def test_a_half_given_back_weight_is_taken(litellm: LiteLLM) -> None:
    """Release steps send fractions."""
    from watchkeeper.adapters.change import partial

    async with real_example(litellm) as (made, found):
        case = found["deployment-shift_traffic"]
        change = await made.change(case)
        assert (await made.apply(change)).code == "http_200"
        assert (await made.apply(partial(change, 0.0, 0.25), "release/0")).code == "http_200"
        assert dict(await made.judge.fields(case.action.target)) == {"weight": 0.25}
        assert (await made.apply(partial(change, 0.25, 1.0), "release/1")).code == "http_200"
        assert dict(await made.judge.fields(case.action.target)) == {"weight": 1}


def _with_fallbacks_in_yaml(installation: Installation, directory: Path, database: str) -> LiteLLM:
    """In the file's litellm_settings, beside a database: the first change by API would lose them all."""
    from tests.testbed.litellm import LiteLLM, yaml_model

    models = [yaml_model(name, f"{name}-1", NOWHERE) for name in ("main", "spare")]
    gateway = LiteLLM(installation, directory=directory, database=database, models=models)
    path = directory / "litellm.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["litellm_settings"]["fallbacks"] = [{"main": ["spare"]}]
    path.write_text(yaml.safe_dump(settings))
    return gateway


@pytest.mark.slow
async def test_fallbacks_of_the_configuration_file_are_left_alone(
    litellm_installation: Installation, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async def prepare(judge: LiteLLMJudge) -> Things:
        return Things("0" * 64, "main-1", "spare", "main", "main")

    database = postgres_server.fresh_database()
    with _with_fallbacks_in_yaml(litellm_installation, tmp_path, database.dsn) as gateway:
        async with example(gateway.base_url, gateway.admin_key, prepare, (), reply_s=6.0) as (made, found):
            answer = await made.adapter.precheck(found["model_group-set_fallback"].action)
            assert [problem.code for problem in answer.problems] == ["setting_in_yaml"]


async def test_where_a_router_setting_comes_from_is_read(litellm: LiteLLM) -> None:
    """The testbed's file holds `num_retries`; `fallbacks` belong to the database."""
    async with real_example(litellm) as (made, _):
        assert isinstance(made.adapter, LiteLLMAdapter)
        with under(incident=INCIDENT):
            assert await made.adapter._reader.setting_in_yaml("num_retries")
            assert not await made.adapter._reader.setting_in_yaml("fallbacks")


async def test_without_a_database_precheck_names_what_to_move(litellm_yaml: LiteLLM) -> None:
    async def prepare(judge: LiteLLMJudge) -> Things:
        return Things("0" * 64, "yaml-a", "yaml-main", "yaml-main", "yaml-main", team="t")

    async with example(litellm_yaml.base_url, litellm_yaml.admin_key, prepare, (), reply_s=6.0) as (made, found):
        expected = {
            "key-throttle": "no_database",
            "key-set_limit": "no_database",
            "key-set_budget": "no_database",
            "key-block": "no_database",
            "team-set_limit": "no_database",
            "team-set_budget": "no_database",
            "deployment-shift_traffic": "model_in_yaml",
            "model_group-set_fallback": "no_database",
        }
        for name, code in expected.items():
            answer = await made.adapter.precheck(found[name].action)
            assert {problem.code for problem in answer.problems} == {code}, name
            assert all(problem.fix for problem in answer.problems)
