"""The house as a whole: doors, layers, what is shipped, and that the pages say only what is so.

It holds form, not truth: that an example validates, a link leads somewhere, a named test exists.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from watchkeeper.core.entries import EntryType
from watchkeeper.daemon.settings import Settings
from watchkeeper.daemon.settings import load as load_settings
from watchkeeper.policies.compile import compile_policy
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.load import parse as parse_policies
from watchkeeper.policies.trials.run import read as read_trials
from watchkeeper.runbooks.loader import parse as parse_runbooks

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "watchkeeper"
BIN = Path(sys.executable).parent
DOORS = ("agents", "policies", "runbooks", "ledger")
LOCKS = sorted([*ROOT.glob("requirements/*.lock"), *ROOT.glob("tests/testbed/**/*lock*")])
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")])

FORBIDDEN = tuple("".join(parts) for parts in ((".", "./shared"), ("/wo", "rk/"), ("/tmp/", "team")))
"""Places of the machine that the project was written on. Spelt in parts, so that this file may be searched too."""

DATABASE_URL = "postgresql+psycopg://127.0.0.1:9/watchkeeper"

MODEL_CLIENTS = {
    "openai", "anthropic", "litellm", "cohere", "mistralai", "groq", "ollama", "transformers", "vertexai", "langchain",
    "langchain_openai", "langchain_anthropic", "langchain_community", "google.generativeai", "google.genai",
    "langchain_core.language_models",
}  # fmt: skip


def source_files() -> Iterator[Path]:
    """What belongs to the project: no caches, no virtual environment, nothing that a run leaves behind."""
    for top in (".ci", "src", "tests", "bench", "docs", "helm", "requirements"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
    yield from (path for path in sorted(ROOT.iterdir()) if path.is_file() and not path.name.startswith(".coverage"))


def package_files() -> set[str]:
    return {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def named_tests() -> set[str]:
    """Every test function there is."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "tests").rglob("*.py")))
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_a_relative_link_into_the_package(door: str) -> None:
    assert (ROOT / door).readlink() == Path("src/watchkeeper") / door
    assert (ROOT / door / "__init__.py").is_file()


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    environment = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_OFFLINE": "1"}
    command = [str(BIN / "uv"), "build", "--wheel", "--quiet", "--out-dir", str(tmp_path / "wheel"), str(ROOT)]
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if not name.endswith("/")}
    shipped = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert shipped == package_files()
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_imports_point_down_only() -> None:
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_say_what_they_are_for_and_stay_readable() -> None:
    long, silent = [], []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 400 and "migrations" not in path.parts:
            long.append(str(path.relative_to(ROOT)))
        if text.strip() and ast.get_docstring(ast.parse(text)) is None:
            silent.append(str(path.relative_to(ROOT)))
    assert (long, silent) == ([], [])


def test_nothing_names_the_machine_it_was_written_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in source_files()
        for word in FORBIDDEN
        if word.encode() in path.read_bytes()
    ]
    assert found == []


def test_every_target_of_the_makefile_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """The names that headings have on a rendered page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_anchor_is_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s#:]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    lost = [(target, name) for target, name in links if name not in anchors(page.parent / target if target else page)]
    assert lost == []


def test_the_page_on_the_ledger_names_every_kind_of_entry_and_no_other() -> None:
    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_.]+\.v\d+`(?:, `[a-z_.]+\.v\d+`)*) ", page, re.MULTILINE)
    named = [f"dev.watchkeeper.{name}" for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(named) == sorted(EntryType)


def examples() -> list[tuple[str, str]]:
    """Every YAML block of every page, with where it stands."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        found += [(f"{page.relative_to(ROOT)}[{number}]", block) for number, block in enumerate(blocks)]
    return found


@pytest.mark.parametrize(("place", "text"), examples(), ids=[place for place, _ in examples()])
def test_every_yaml_example_is_accepted(place: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if re.search(r"^kind: Runbook$", text, re.MULTILINE):
        assert [linted.findings for linted in parse_runbooks(text, place)] == [[]]
    elif re.search(r"^kind: (Grant|Limit)$", text, re.MULTILINE):
        documents = [document for document, _ in parse_policies(text, place)]
        assert len(compile_policy(PolicySet(tuple(documents))).nodes) == len(documents)
    elif re.search(r"^kind: PolicyTest$", text, re.MULTILINE):
        (tmp_path / "test.yaml").write_text(text)
        assert all(each.test.spec.cases for each in read_trials(tmp_path))
    else:
        monkeypatch.chdir(tmp_path)
        secret = DATABASE_URL if text.startswith("database:") else "http://127.0.0.1:9/secret"
        for name in re.findall(r"_file: (\S+)", text):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(secret)
        (tmp_path / "watchkeeper.yaml").write_text(text)
        assert load_settings(tmp_path / "watchkeeper.yaml", {}) != Settings()


@pytest.mark.parametrize("number", range(1, 13))
def test_every_invariant_is_named_in_a_test(number: int) -> None:
    assert any(name.startswith(f"test_invariant_{number}_") for name in named_tests())


def test_the_page_on_architecture_lists_every_decision() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Why it is so")[1]
    assert {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} == set(
        re.findall(r"decisions/(\S+?\.md)", page)
    )


def test_the_page_on_architecture_names_tests_and_rooms_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_invariant_\w+)`", page)) - named_tests() == set()
    paths = set(re.findall(r"tests/[\w/]+\.py", page))
    assert [path for path in sorted(paths) if not (ROOT / path).is_file()] == []
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(re.findall(r"^  (\w+)/ ", page, re.MULTILINE))


def test_invariant_9_nothing_here_calls_a_model() -> None:
    """This version has no model to lose: no client of one is imported, and none is required."""
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
    prefixes = {".".join(name.split(".")[:n]) for name in imported for n in (1, 2)}
    assert prefixes & MODEL_CLIENTS == set()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[\[<>=~ ]", each)[0].replace("-", "_") for each in wanted} & MODEL_CLIENTS == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_a_lock_names_hashes_and_no_registry_or_secret(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "sha256:" in text or "sha512-" in text
    assert re.findall(r"^\s*(?:-i|--index-url|--extra-index-url|--find-links|--trusted-host)\b.*", text, re.M) == []
    assert re.findall(r'"resolved":|://[^\s"/]*@|_authToken|\bpassword\b', text) == []
