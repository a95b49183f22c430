"""The LiteLLM adapter against the lab's gateway: every clause for every case that the lab can serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapters.conformance_suite import LAB_CASES, lab_example
from tests.testbed.labs import open_gateway

from watchkeeper.adapters.conformance import CLAUSES, Clause


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", LAB_CASES)
async def test_litellm_adapter_conforms_on_the_lab(tmp_path: Path, clause: Clause, name: str) -> None:
    async with open_gateway(tmp_path) as lab, lab_example(lab) as (made, found):
        await clause(made, found[name])
