"""The question at the terminal, asked through a pseudo-terminal, and what the verdict asks for."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import httpx
import pytest
from rich.console import Console
from tests.testbed.entries import one_of_each

from watchkeeper.cli.client import Client
from watchkeeper.cli.demo.director import _ask
from watchkeeper.cli.demo.stage import Stage
from watchkeeper.cli.demo.timeline import Course, Timeline
from watchkeeper.core.entries import EntryType, RemedyRecorded
from watchkeeper.core.errors import ConflictError
from watchkeeper.core.remedies import RemedyStatus


class Operator:
    """Takes answers as the daemon does; one that comes too late is a conflict."""

    def __init__(self, *, late: bool = False) -> None:
        self.said: list[tuple[str, dict[str, str]]] = []
        self._late = late

    def post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        if self._late:
            raise ConflictError("apr_1 is already approved")
        self.said.append((path, body))
        return {}


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Our standard input is a terminal; what is written here is typed there."""
    typed, terminal = os.openpty()
    stdin: IO[str]
    with os.fdopen(terminal, closefd=True) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield typed
    os.close(typed)


def asked(operator: Operator, wait_s: float, *, typed_at_the_question: tuple[int, bytes] | None = None) -> str:
    """Asks, and returns what was shown. Typing happens when the question is on the screen, as a person would."""

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if typed_at_the_question and "Approve this plan?" in text:
                os.write(*typed_at_the_question)
            return super().write(text)

    screen = Screen()
    timeline = Timeline(Console(file=screen, width=80))
    stage = Stage(Path(), {}, cast(Client, operator), cast(Client, operator), cast(httpx.Client, None))
    course = Course("inc_1", approval="apr_1")
    _ask(timeline, stage, course, wait_s)
    assert course.answered
    return screen.getvalue()


@pytest.mark.parametrize(
    ("typed", "answer"), [(b"\n", "approved"), (b"y\n", "approved"), (b"n\n", "rejected"), (b" No\n", "rejected")]
)
def test_a_person_at_the_terminal_is_asked_and_answers(keyboard: int, typed: bytes, answer: str) -> None:
    operator = Operator()
    assert "Approve this plan?" in asked(operator, 30, typed_at_the_question=(keyboard, typed))
    assert operator.said == [("/v1/approvals/apr_1", {"answer": answer, "via": "terminal"})]


def test_who_does_not_answer_in_time_is_answered_for_and_the_ledger_says_so(keyboard: int) -> None:
    operator = Operator()
    asked(operator, 0)
    assert operator.said == [("/v1/approvals/apr_1", {"answer": "approved", "via": "demo-timeout"})]


def test_what_was_typed_before_the_question_is_no_answer(keyboard: int) -> None:
    os.write(keyboard, b"n\n")
    operator = Operator()
    asked(operator, 0)
    assert operator.said[0][1]["via"] == "demo-timeout"


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    operator = Operator()
    assert "Approve" not in asked(operator, 30)
    assert operator.said[0][1] == {"answer": "approved", "via": "demo-timeout"}


def test_an_answer_that_comes_too_late_is_told(keyboard: int) -> None:
    assert "already approved" in asked(Operator(late=True), 0)


def test_released_means_that_all_that_was_held_was_given_back() -> None:
    recorded = one_of_each()[EntryType.REMEDY].data
    assert isinstance(recorded, RemedyRecorded)
    timeline, course = Timeline(Console(file=io.StringIO())), Course("inc_1")
    timeline.courses["inc_1"] = course
    assert not course.released
    for name, status, released in (
        ("rem_1", RemedyStatus.IN_FORCE, False),
        ("rem_1", RemedyStatus.RELEASED, True),
        ("rem_2", RemedyStatus.RELEASING, False),
        ("rem_2", RemedyStatus.UNDONE, False),
        ("rem_2", RemedyStatus.RELEASED, True),
    ):
        remedy = recorded.remedy.model_copy(update={"id": name, "status": status})
        timeline.note("inc_1", recorded.model_copy(update={"remedy": remedy}))
        assert course.released is released
