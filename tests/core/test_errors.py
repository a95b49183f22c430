"""The error tree: what happened, the likely cause, the next command; stable codes."""

from __future__ import annotations

from collections.abc import Iterator

from watchkeeper.core.errors import (
    InputError,
    LedgerError,
    RefusedError,
    UnavailableError,
    WatchkeeperError,
    suggest,
)


def tree(root: type[WatchkeeperError]) -> Iterator[type[WatchkeeperError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_a_diagnostic_says_what_why_and_what_next() -> None:
    error = InputError("no such key", cause="a typo", next_step="watchkeeper config check", place="a.yaml:3")
    assert str(error) == "no such key"
    assert error.diagnostics() == ("a.yaml:3: no such key\n  likely cause: a typo\n  next: watchkeeper config check")
    assert WatchkeeperError("bare").diagnostics() == "bare"


def test_every_core_error_has_a_code_of_its_own_and_fails_a_command() -> None:
    ours = [error for error in tree(WatchkeeperError) if error.__module__ == "watchkeeper.core.errors"]
    codes = [error.code for error in ours]
    assert len(codes) == len(set(codes))
    assert all(error.exit_code > 0 and 400 <= error.http_status < 600 for error in ours)


def test_what_stops_acting_is_one_branch() -> None:
    assert issubclass(LedgerError, UnavailableError)


def test_a_refusal_names_its_gate() -> None:
    assert RefusedError("not now", reason="cooldown").reason == "cooldown"


def test_a_near_miss_is_suggested() -> None:
    assert suggest("treshold", ["threshold", "window"]) == ' (did you mean "threshold"?)'
    assert suggest("zzz", ["threshold"]) == ""
