"""The distribution: small, alone, and what its commands say."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.testbed.guardrules import rule
from tests.testbed.guardserver import document

from watchkeeper_guard import __main__ as commands
from watchkeeper_guard.disk import State

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "guard/src/watchkeeper_guard"
BEHIND_ITS_OWN_MODULE = {"litellm.py": {"litellm"}, "openai.py": {"httpx"}, "langgraph.py": {"langchain_core"}}


def test_it_needs_the_standard_library_alone() -> None:
    for path in sorted(PACKAGE.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        foreign = {each.split(".")[0] for each in named} - set(sys.stdlib_module_names) - {"watchkeeper_guard"}
        assert foreign == BEHIND_ITS_OWN_MODULE.get(path.name, set()), path.name


def test_the_clients_modules_are_imported_where_their_packages_are_missing() -> None:
    modules = [path.stem for path in sorted(PACKAGE.glob("*.py")) if path.stem not in ("litellm", "__main__")]
    script = f"import {', '.join(f'watchkeeper_guard.{name}' for name in modules)}"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_modules_say_what_they_are_for_and_stay_readable() -> None:
    for path in sorted(PACKAGE.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), path.name
        assert len(text.splitlines()) <= 400, path.name


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    environment = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_OFFLINE": "1"}
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "build", "--wheel", "--quiet", "--out-dir", str(tmp_path / "wheel"), str(ROOT / "guard")]
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if not name.endswith("/")}
        (metadata,) = (opened.read(name).decode() for name in names if name.endswith("/METADATA"))
    shipped = {name for name in names if ".dist-info/" not in name}
    assert shipped == {f"watchkeeper_guard/{path.name}" for path in PACKAGE.iterdir() if path.is_file()}
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert "Requires-Dist" not in metadata


def test_check_tells_what_a_document_holds_or_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(document(3, rule("hold", match={"run": "r"}, state="paused", on_doubt="closed"))))
    bad.write_text(json.dumps(document(3, rule("iterations", max_calls="many"))))
    assert commands.main(["check", str(good)]) == 0
    assert "hold: hold, run=r, enforce, in doubt closed" in capsys.readouterr().out
    assert commands.main(["check", str(bad)]) == 2
    assert "rules[0].limits.max_calls" in capsys.readouterr().err
    assert commands.main(["check", str(tmp_path / "none.json")]) == 2


def test_show_tells_what_stands_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["show", str(tmp_path)]) == 0
    State(tmp_path).tell(document(4, rule("iterations", max_calls=1)))
    (tmp_path / "worker-1.json").write_text('{"refused": 2}')
    assert commands.main(["show", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "no rules" in said
    assert "version 4, 1 rules, sha256:" in said
    assert '"refused": 2' in said
