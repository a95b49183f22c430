"""policy diff: whose authority grows or shrinks between two policies. It reads files and asks no daemon."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json
from watchkeeper.cli.policyfiles import compiled
from watchkeeper.core.errors import PolicyDiffersError

if TYPE_CHECKING:
    from watchkeeper.policies.difference.compare import Changed, Difference
    from watchkeeper.policies.difference.places import Place

MOST_SHOWN = 8
"""Places told of one change; the number of the others is."""
COLOURS = {"grows": "yellow", "shrinks": "green", "grows and shrinks": "yellow"}


class FailOn(StrEnum):
    GROWS = "grows"


def register(app: typer.Typer) -> None:
    @app.command()
    def diff(
        old: Annotated[str, typer.Argument(help="A file, a folder, or pack:NAME.")],
        new: Annotated[str, typer.Argument(help="A file, a folder, or pack:NAME.")],
        fail_on: Annotated[FailOn | None, typer.Option(help="End with exit code 11 when authority grows.")] = None,
        json: Json = False,
    ) -> None:
        """Say whose authority grows and whose shrinks from one policy to another."""
        from watchkeeper.policies.difference.compare import difference

        found = difference(compiled([old]), compiled([new]))
        if json:
            out.as_json(_as_json(found))
        else:
            _say(found)
        if fail_on is FailOn.GROWS and found.may_grow():
            raise typer.Exit(PolicyDiffersError.exit_code)


def _say(found: Difference) -> None:
    for sign, names in (("+", found.added), ("-", found.removed), ("~", found.edited)):
        for name in names:
            out.say(f"{sign} {name}", "dim")
    for each in found.changed:
        out.say(f"authority {each.way}:", COLOURS[each.way])
        for change in each.changes:
            out.say(out.wrapped(f"  {change}"))
        for line in _where(each):
            out.say(out.wrapped(f"    {line}"), "dim")
    if not found.changed:
        out.say("nobody's authority changes")
    if not found.complete:
        out.say("There are more combinations than were looked at: compare smaller parts.", "yellow")


def _where(changed: Changed) -> list[str]:
    """One line for every agent, scope and runbook, with the intents."""
    lines: dict[str, dict[str, None]] = {}
    for place in changed.places:
        phase = "" if place.phase is None else f" ({place.phase})"
        line = f"{place.agent} in {place.environment}/{place.service}{phase}, {place.runbook}{_labels(place)}"
        lines.setdefault(line, {})[place.intent] = None
    told = [f"{line}: {', '.join(intents)}" for line, intents in lines.items()]
    more = len(told) - MOST_SHOWN
    return [*told[:MOST_SHOWN], f"and {more} more"] if more > 0 else told


def _labels(place: Place) -> str:
    return "".join(f", {name}={value}" for name, value in place.labels)


def _as_json(found: Difference) -> dict[str, object]:
    return {
        "added": found.added,
        "removed": found.removed,
        "edited": found.edited,
        "complete": found.complete,
        "changed": [
            {
                "way": each.way.value,
                "changes": each.changes,
                "places": [{**place._asdict(), "labels": dict(place.labels)} for place in each.places],
            }
            for each in found.changed
        ],
    }
