"""The GCP adapter against our own fake: every field is written, each way of writing meets all faults."""

from __future__ import annotations

import pytest
from tests.adapters.gcp.suite import ALL, gcp_example
from tests.testbed.clouds.gcp import GcpFake

from watchkeeper.adapters.conformance import CLAUSES, Clause, covers_every_capability
from watchkeeper.adapters.conformance.returning import what_restores_itself_is_watched
from watchkeeper.adapters.conformance.writing import (
    a_declared_precondition_closes_the_window,
    another_writer_is_not_overwritten,
    dry_run_changes_nothing,
    precheck_refuses_what_cannot_be_done,
    undo_restores_field_by_field,
)

LEAVE_NOTHING: tuple[Clause, ...] = (
    precheck_refuses_what_cannot_be_done,
    dry_run_changes_nothing,
    undo_restores_field_by_field,
)
WITH_OTHERS: tuple[Clause, ...] = (another_writer_is_not_overwritten, a_declared_precondition_closes_the_window)
FAULTS = tuple(each for each in CLAUSES if each not in (*LEAVE_NOTHING, *WITH_OTHERS, what_restores_itself_is_watched))
"""These do not depend on the field."""
WRITE_PATHS = (
    "instance-restart",
    "instance_group-scale",
    "managed_instance-replace",
    "backend_service-shift_traffic",
)


@pytest.mark.parametrize("name", ALL)
async def test_each_capability_writes_as_it_says(gcp: GcpFake, name: str) -> None:
    async with gcp_example(gcp, name) as example:
        for clause in (*LEAVE_NOTHING, what_restores_itself_is_watched):
            await clause(example, example.cases[0])


@pytest.mark.parametrize("clause", WITH_OTHERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", ALL)
async def test_each_capability_leaves_other_writers_alone(gcp: GcpFake, clause: Clause, name: str) -> None:
    async with gcp_example(gcp, name) as example:
        await clause(example, example.cases[0])


@pytest.mark.parametrize("clause", FAULTS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", WRITE_PATHS)
async def test_each_way_of_writing_survives_faults(gcp: GcpFake, clause: Clause, name: str) -> None:
    async with gcp_example(gcp, name) as example:
        await clause(example, example.cases[0])


async def test_every_capability_has_a_case(gcp: GcpFake) -> None:
    async with gcp_example(gcp, *ALL) as example:
        covers_every_capability(example)
