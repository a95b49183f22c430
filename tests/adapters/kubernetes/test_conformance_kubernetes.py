"""The Kubernetes adapter against a real control plane: every field is written, each way of writing meets all faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapters.kubernetes.suite import ALL, kubernetes_example
from tests.testbed.kubernetes import PlaneCluster

from watchkeeper.adapters.conformance import CLAUSES, Clause, covers_every_capability
from watchkeeper.adapters.conformance.returning import what_restores_itself_is_watched
from watchkeeper.adapters.conformance.writing import (
    a_declared_precondition_closes_the_window,
    another_writer_is_not_overwritten,
    dry_run_changes_nothing,
    precheck_refuses_what_cannot_be_done,
    undo_restores_field_by_field,
)

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

LEAVE_NOTHING: tuple[Clause, ...] = (
    precheck_refuses_what_cannot_be_done,
    dry_run_changes_nothing,
    undo_restores_field_by_field,
)
WITH_OTHERS: tuple[Clause, ...] = (another_writer_is_not_overwritten, a_declared_precondition_closes_the_window)
FAULTS = tuple(each for each in CLAUSES if each not in (*LEAVE_NOTHING, *WITH_OTHERS, what_restores_itself_is_watched))
"""These do not depend on the field."""
SHARED = (
    *(each for each in ALL if each.startswith("kube_deployment-")),
    "statefulset-scale",
    "statefulset-rollback",
    "daemonset-set_resources",
    "hpa-set_limit",
)
"""Every field, and every kind, that others write too and that has a third value."""
WRITE_PATHS = (
    "kube_deployment-set_config",
    "kube_deployment-rollback",
    "pod-drain",
    "pod-restart",
)


@pytest.mark.parametrize("name", ALL)
async def test_each_capability_writes_as_it_says(kubernetes_plane: PlaneCluster, tmp_path: Path, name: str) -> None:
    async with kubernetes_example(kubernetes_plane, tmp_path, name) as example:
        for clause in LEAVE_NOTHING:
            await clause(example, example.cases[0])
        await what_restores_itself_is_watched(example, example.cases[0])


@pytest.mark.parametrize("clause", WITH_OTHERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", SHARED)
async def test_each_capability_leaves_other_writers_alone(
    kubernetes_plane: PlaneCluster, tmp_path: Path, clause: Clause, name: str
) -> None:
    async with kubernetes_example(kubernetes_plane, tmp_path, name) as example:
        await clause(example, example.cases[0])


@pytest.mark.parametrize("clause", FAULTS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", WRITE_PATHS)
async def test_each_way_of_writing_survives_faults(
    kubernetes_plane: PlaneCluster, tmp_path: Path, clause: Clause, name: str
) -> None:
    async with kubernetes_example(kubernetes_plane, tmp_path, name) as example:
        await clause(example, example.cases[0])


async def test_every_capability_has_a_case(kubernetes_plane: PlaneCluster, tmp_path: Path) -> None:
    async with kubernetes_example(kubernetes_plane, tmp_path, *ALL) as example:
        covers_every_capability(example)
