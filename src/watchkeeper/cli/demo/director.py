"""Runs the demo: warms up, breaks three things one after another, watches the watch, and judges it.

The verdict is strict: all three recovered through our action while the fault was still there, the cap on spending was
given back afterwards, and the ledger verifies.
"""

from __future__ import annotations

import select
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from watchkeeper.cli.demo.acts import ACTS, Act
from watchkeeper.cli.demo.narrate import Said
from watchkeeper.cli.demo.stage import Stage, set_up
from watchkeeper.cli.demo.timeline import Course, Timeline
from watchkeeper.cli.out import WIDTH
from watchkeeper.core.errors import ConflictError

WARM_UP_S = 16.0
RECOVER_S = 60.0
CLOSE_S = 40.0
SHADOW_S = 15.0


def run(*, shadow: bool, seed: int, wait_s: float, keep: Path | None) -> int:
    """The exit code: 0 only if everything recovered through us, the cap was released and the ledger verifies."""
    console = Console(highlight=False, width=min(WIDTH, Console().width))
    directory = keep or Path(tempfile.mkdtemp(prefix="watchkeeper-demo-"))
    console.print("[bold]Watchkeeper[/] stands the watch over a small AI system: two providers, a gateway,")
    console.print("three agents. Three things will break. Nothing heals by itself.")
    with set_up(directory, seed) as stage:
        timeline = Timeline(console)
        timeline.heading("Healthy traffic")
        if not shadow:
            reason = "the demo operator lets it act in demo/chat"
            stage.operator.post("/v1/policies", {"pack": "demo", "reason": reason})
        timeline.say(Said("watching", "learning what is normal for each key, model and agent", "dim"))
        _until(timeline, stage, WARM_UP_S, lambda: False)
        # in shadow nothing is healed, so what hides the others comes last
        for number, act in enumerate(reversed(ACTS) if shadow else ACTS, start=1):
            timeline.heading(f"{number}. {act.title}")
            timeline.say(Said("BREAKS", act.breaks, "bold red"))
            act.start(stage)
            (_in_shadow if shadow else _handled)(timeline, stage, act, wait_s)
        if not shadow:
            _until(timeline, stage, CLOSE_S, lambda: all(_closed(timeline, act) for act in ACTS))
        return _finish(console, stage, timeline, shadow, directory)


def _handled(timeline: Timeline, stage: Stage, act: Act, wait_s: float) -> None:
    """Follows one incident until the service level has recovered; only then is the fault itself repaired."""
    end = time.monotonic() + RECOVER_S
    while time.monotonic() < end:
        timeline.follow(stage.operator)
        course = timeline.course(act.mode)
        if course is None:
            continue
        if course.approval and not course.answered:
            _ask(timeline, stage, course, wait_s)
        if course.recovered or course.escalation or course.resolution:
            break
    timeline.say(Said("repaired", act.repaired, "dim"))
    act.end(stage)


def _in_shadow(timeline: Timeline, stage: Stage, act: Act, wait_s: float) -> None:
    """Nothing was granted: it sees, concludes, decides, and touches nothing. The fault stays."""
    _until(timeline, stage, SHADOW_S, lambda: bool((timeline.course(act.mode) or Course("")).escalation))


def _until(timeline: Timeline, stage: Stage, seconds: float, done: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not done():
        timeline.follow(stage.operator, wait_s=max(0.0, min(1.0, end - time.monotonic())))


def _ask(timeline: Timeline, stage: Stage, course: Course, wait_s: float) -> None:
    """Asks at the terminal; with none, or after a short wait, the named demo operator approves, and the ledger says
    how. What was typed before the question is no answer to it."""
    answer, via = "approved", "demo-timeout"
    if sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        timeline.console.print(f"        [bold yellow]Approve this plan?[/] [Y/n] ({wait_s:.0f} s) ", end="")
        ready, _, _ = select.select([sys.stdin], [], [], wait_s)
        if ready:
            via = "terminal"
            answer = "rejected" if sys.stdin.readline().strip().lower().startswith("n") else "approved"
        else:
            timeline.console.print()
    try:
        stage.operator.post(f"/v1/approvals/{course.approval}", {"answer": answer, "via": via})
    except ConflictError as error:
        timeline.say(Said("consent", error.what, "yellow"))
    course.answered = True


def _closed(timeline: Timeline, act: Act) -> bool:
    course = timeline.course(act.mode)
    return course is None or bool(course.resolution or course.escalation)


def _finish(console: Console, stage: Stage, timeline: Timeline, shadow: bool, directory: Path) -> int:
    courses = [(act, timeline.course(act.mode)) for act in ACTS]
    timeline.heading("What became of it")
    table = Table(box=None, pad_edge=False, width=console.width)
    table.add_column("incident", no_wrap=True, min_width=32)
    table.add_column("fault", no_wrap=True, min_width=21)
    table.add_column("by us", no_wrap=True)
    table.add_column("back", no_wrap=True)
    table.add_column("ended", overflow="fold")
    for act, course in courses:
        ours, back = (course.recovered, course.released) if course is not None else (False, False)
        ended = "not seen" if course is None else course.resolution or course.escalation or "still held"
        marks = ("[green]yes[/]" if each else "[red]no[/]" for each in (ours, back))
        table.add_row("-" if course is None else course.incident, act.title, *marks, ended.replace("_", " "))
    console.print(table)
    report = stage.admin.post("/v1/ledger/verify", {})
    writes = [entry for entry in stage.journal() if str(entry.get("changed_by", "")).startswith("watchkeeper:")]
    console.print(f"ledger: {report['size']} entries, " + ("[green]verified[/]" if report["ok"] else "[red]BROKEN[/]"))
    console.print(f"writes in the gateway's own journal that are ours: {len(writes)}")
    kept = [
        course is not None and course.recovered and (course.released or not act.released) for act, course in courses
    ]
    if shadow:
        console.print("[yellow]Shadow:[/] nothing was granted and nothing was touched. Still broken:")
        console.print("  " + ", ".join(stage.faults()))
    _next_steps(console, directory, courses)
    return 0 if all(kept) and report["ok"] and not shadow else 1


def _next_steps(console: Console, directory: Path, courses: list[tuple[Act, Course | None]]) -> None:
    first = next((course.incident for _, course in courses if course is not None), "INCIDENT")
    console.print("\nWhat to type next (the demo's data is kept):", style="bold")
    program = sys.argv[0] if Path(sys.argv[0]).name == "watchkeeper" else "watchkeeper"
    prefix = f"{program} --data-dir {directory / 'data'}"
    console.print(f"  {program} serve --config {directory / 'watchkeeper.yaml'} &", soft_wrap=True)
    console.print(f"  {prefix} ledger show {first}", soft_wrap=True)
    console.print(f"  {prefix} ledger verify", soft_wrap=True)
    console.print(f"  {prefix} ledger replay", soft_wrap=True)
