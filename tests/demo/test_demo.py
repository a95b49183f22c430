"""The demo as a newcomer runs it: as a process, without a terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)


def demo(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "watchkeeper.cli.main", "demo", "--keep", str(directory), *options]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False)


def our_writes(output: str) -> int:
    found = re.search(r"journal that are ours: (\d+)", output)
    assert found, output
    return int(found[1])


def the_last_incident(output: str) -> str:
    """What was told between the third break and the summary: the cap on spending, from its cause to its end."""
    return output.split("Costs jump", 1)[1].split("What became of it", maxsplit=1)[0]


def the_admin_key_is_nowhere(directory: Path, output: str) -> None:
    """Not in the database, the evidence that is stored plainly, the log, or what was printed."""
    key = (directory / "lab" / "master.key").read_text().strip()
    assert key.startswith("sk-")
    kept = [path for path in (directory / "data").rglob("*") if path.is_file()] + [directory / "daemon.log"]
    assert len(kept) > 3
    assert key not in output
    assert [path.name for path in kept if key.encode() in path.read_bytes()] == []


def test_three_incidents_recover_through_us_and_the_ledger_verifies(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout
    assert "approved by demo-operator, via demo-timeout" in done.stdout
    assert done.stdout.count("VERIFIED   recovered") >= 3
    assert the_last_incident(done.stdout).count("exactly as it was before") >= 2
    assert "CLOSED" in the_last_incident(done.stdout)
    (summary,) = re.findall(r"^inc_\S+ +Costs jump +(.*)$", done.stdout, re.MULTILINE)
    assert summary.split()[:2] == ["yes", "yes"]
    assert our_writes(done.stdout) >= 4
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if str(tmp_path) not in line)
    the_admin_key_is_nowhere(tmp_path, done.stdout + done.stderr)


def test_in_shadow_all_three_faults_persist_and_nothing_is_touched(tmp_path: Path) -> None:
    done = demo(tmp_path, "--shadow")
    assert done.returncode == 1, done.stdout + done.stderr
    assert our_writes(done.stdout) == 0
    for fault in ("support-bot: cost_spike", "research-agent: runaway", "provider-a: 500"):
        assert fault in done.stdout
    assert done.stdout.count("shadow: touch nothing") == 3
    assert "CLAIMED" not in done.stdout
