"""`python -m watchkeeper_guard check RULES.json` and `show [STATE_DIR]`: read-only, and no daemon needed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from watchkeeper_guard.disk import RULES, read_envelope
from watchkeeper_guard.document import RulesError, loads
from watchkeeper_guard.rules import Hold, Rule, Rules
from watchkeeper_guard.settings import SettingsError, from_environment


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m watchkeeper_guard", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="is this document right? prints its rules and its digest")
    check.add_argument("file", type=Path)
    show = commands.add_parser("show", help="the rules in force here, and what each worker did")
    show.add_argument("state_dir", type=Path, nargs="?", help="if not given, where the environment says")
    given = parser.parse_args(arguments)
    try:
        return _check(given.file) if given.command == "check" else _show(given.state_dir)
    except (RulesError, SettingsError, OSError) as error:
        print(f"watchkeeper-guard: {error}", file=sys.stderr)
        return 2


def _check(file: Path) -> int:
    _print(loads(file.read_bytes()))
    return 0


def _show(directory: Path | None) -> int:
    directory = from_environment().state_dir if directory is None else directory
    kept = directory / RULES
    if kept.exists():
        _print(read_envelope(kept.read_bytes()))
    else:
        print(f"no rules in {directory}")
    for worker in sorted(directory.glob("worker-*.json")):
        pid = worker.stem.removeprefix("worker-")
        running = Path("/proc", pid).exists() or not Path("/proc").exists()
        print(json.dumps({"running": running, **json.loads(worker.read_bytes())}))
    return 0


def _print(rules: Rules) -> None:
    print(f"version {rules.version}, {len(rules.rules)} rules, {rules.digest}")
    for rule in rules.rules:
        print(_line(rule))


def _line(rule: Rule) -> str:
    match = " ".join(f"{name}={value}" for name, value in rule.match.exact()) or "every call"
    kind = "hold" if isinstance(rule.limits, Hold) else type(rule.limits).__name__.lower()
    until = "" if rule.until is None else f", until {rule.until:%Y-%m-%dT%H:%M:%SZ}"
    return f"  {rule.id}: {kind}, {match}, {rule.mode}, in doubt {rule.on_doubt}{until}"


if __name__ == "__main__":
    sys.exit(main())
