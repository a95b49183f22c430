"""One gate of the policy engine is changed, and replay flags exactly the decisions in which that gate had a say.

Each mutant is the package itself with one gate replaced, run as its own process over an export; what it must flag is
taken from the recorded walks, not from the engine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.testbed.decided import decided, golden_export, varied_export

import watchkeeper
from watchkeeper.core.decisions import DecisionRecord, Gate, GateResult
from watchkeeper.ledger.exports.jsonlines import size_of
from watchkeeper.ledger.exports.layout import ENTRIES
from watchkeeper.ledger.replays.replay import ReplayReport
from watchkeeper.policies.gates.answers import CORE
from watchkeeper.policies.gates.walk import GATES, SILENT
from watchkeeper.policies.replay.recheck import Said

PACKAGE = Path(watchkeeper.__file__).parent
ROOMS = ("core", "ledger")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every verdict, gate and reason there was at first, a few hundred decisions at random, and as many with all that
    documents can ask today."""
    folder = tmp_path_factory.mktemp("exports")
    return [
        golden_export(folder / "golden"),
        varied_export(folder / "varied", 300, seed=7),
        varied_export(folder / "conditions", 200, seed=8, documents=60, conditions=True),
    ]


def mutant(folder: Path, mutate: Callable[[str], str], module: str = "walk.py") -> Path:
    """A copy of what a replay needs of the package, with other gates."""
    package = folder / "watchkeeper"
    package.mkdir()
    (package / "__init__.py").symlink_to(PACKAGE / "__init__.py")
    for room in ROOMS:
        (package / room).symlink_to(PACKAGE / room)
    shutil.copytree(PACKAGE / "policies", package / "policies", ignore=shutil.ignore_patterns("__pycache__"))
    gates = package / "policies" / "gates" / module
    before = gates.read_text()
    gates.write_text(mutate(before))
    assert gates.read_text() != before
    return folder


def replayed(code: Path, export: Path) -> ReplayReport:
    command = [sys.executable, "-P", "-m", "watchkeeper.policies.replay.recheck", str(export), "0"]
    ended = subprocess.run(
        [*command, str(size_of(export / ENTRIES))],
        env={**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    report = Said.model_validate_json(ended.stdout.splitlines()[-1]).report
    assert report is not None
    return report


def had_a_say(gate: Gate, record: DecisionRecord) -> bool:
    """Whether the gate said more of a request than that it has nothing against it, which is what a gate says that asks
    nothing. A plan without requests is answered before any gate."""
    return any(
        result.gate is gate and (not result.passed or result.node != CORE or result.observed is not None)
        for result in record.decision.walk
        if result.step is not None
    )


@pytest.mark.parametrize("gate", GATES)
def test_invariant_8_one_changed_gate_is_flagged_exactly_where_it_spoke(
    gate: Gate, exports: list[Path], tmp_path: Path
) -> None:
    code = mutant(tmp_path, lambda text: f"{text}\n\nGATES = {{**GATES, Gate.{gate.name}: ()}}\n")
    spoke: list[str] = []
    for export in exports:
        found = replayed(code, export)
        expected = [entry for entry, record in decided(export) if had_a_say(gate, record)]
        assert list(found.differed) == expected
        assert found.matched == sum(1 for _ in decided(export)) - len(expected)
        assert found.not_recomputable == ()
        spoke += expected
        if export is exports[0] and gate not in SILENT:
            assert expected, "the golden decisions meet every gate that there was then"
            assert any(f":{gate}]" in change.path for change in found.differences[0].paths)
    assert spoke


def at_the_line(result: GateResult) -> bool:
    return result.passed and result.limit is not None and result.observed == result.limit


def test_a_bound_that_is_one_off_is_flagged_where_it_was_met_exactly(exports: list[Path], tmp_path: Path) -> None:
    bound = "number >= limit if at_least else number <= limit"
    one_off = "(number > limit if at_least else number < limit)"
    other = f"{one_off} if told is not None else ({bound})"  # where the walk does not name the bound, nobody can tell
    code = mutant(tmp_path, lambda text: text.replace(bound, other))
    every = []
    for export in exports:
        expected = [entry for entry, record in decided(export) if any(map(at_the_line, record.decision.walk))]
        assert list(replayed(code, export).differed) == expected
        every += expected
    assert every


def test_the_engine_as_it_is_flags_nothing_and_needs_no_database(exports: list[Path], tmp_path: Path) -> None:
    code = mutant(tmp_path, lambda text: text + "\n# the same\n")
    for export in exports:
        report = replayed(code, export)
        assert (report.differed, report.not_recomputable) == ((), ())
    loaded = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import json, sys, watchkeeper.policies.replay.recheck; print(json.dumps([*sys.modules]))",
        ],
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    rooms = {name.split(".")[1] for name in json.loads(loaded.stdout) if name.startswith("watchkeeper.")}
    assert rooms == {*ROOMS, "policies"}
    assert not {"sqlalchemy", "httpx", "fastapi"} & set(json.loads(loaded.stdout))
