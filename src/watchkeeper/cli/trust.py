"""trust: what each specialist has earned, and what is missing for its promotion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, floor
from typing import Annotated, Any

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client

Agent = Annotated[str, typer.Argument(help="A specialist, such as remediator/litellm. Without one: all.")]


def register(app: typer.Typer) -> None:
    @app.command()
    def trust(context: typer.Context, agent: Agent = "", json: Json = False) -> None:
        """What each agent has earned per action and scope, and what is missing for its promotion."""
        found = client(context).get("/v1/trust", agent=agent)
        if json:
            out.as_json(found)
            return
        for each in found:
            _say(each)
        if not found:
            out.say("No outcome is kept yet: nothing was verified, and nothing ended in shadow.")


def _say(standing: dict[str, Any]) -> None:
    key = standing["key"]
    place = f"{key['scope']['environment']}/{key['scope']['service']}"
    out.say(Text(out.plain(key["agent"]), "bold"))
    out.say(out.wrapped(f"  {key['runbook']}/{key['intent']} in {place}"))
    for line in (_verified(standing), _bound(standing), _untreated(standing)):
        out.say(out.wrapped(f"    {line}"))
    if standing["proposed"]:
        out.say("    promotion is proposed: a person decides", "green")
    else:
        out.say(out.wrapped(f"    missing: {'; '.join(_missing(standing['missing']))}"), "yellow")


def _verified(standing: dict[str, Any]) -> str:
    seen, edited = standing["verified"], standing["edited"]
    parts = [f"verified {_share(seen)}"]
    if standing["approved"]:
        parts.append(f"{standing['approved']} approved by people")
    if seen["nothing"]:
        parts.append(f"{seen['nothing']} count for nothing")
    if edited["successes"] + edited["failures"]:
        parts.append(f"edited plans apart: {_share(edited)}")
    return ", ".join(parts)


def _bound(standing: dict[str, Any]) -> str:
    if standing["lower_bound"] is None:
        return "lower bound none: nothing is kept"
    lent = f", {standing['borrowed']:g} of it borrowed" if standing["borrowed"] else ""
    return f"lower bound {_at_least(standing['lower_bound'])}{lent}"


def _untreated(standing: dict[str, Any]) -> str:
    seen, upper = standing["untreated"], standing["untreated_upper"]
    if upper is None:
        return "untreated: not seen in shadow"
    return f"untreated {_share(seen)}, at most {_at_most(upper)}"


def _share(seen: dict[str, Any]) -> str:
    n = seen["successes"] + seen["failures"]
    return f"{seen['successes']} of {n}" + ("" if seen["rate"] is None else f" ({seen['rate']:.1%})")


def _missing(criteria: Iterable[dict[str, Any]]) -> Iterator[str]:
    for each in criteria:
        observed, required = each["observed"], each["required"]
        seen = "none" if observed is None else _at_least(observed)
        match each["name"]:
            case "outcomes":
                yield f"{observed:.0f} of {required:.0f} outcomes"
            case "rate":
                yield f"rate {seen} of {required:.2f}"
            case "rollbacks":
                yield f"{observed:.0f} rolled back of late"
            case "lower_bound":
                yield f"lower bound {seen} of {required:.2f}"
            case "untreated_seen":
                yield f"{observed:.0f} of {required:.0f} seen untreated"
            case _:
                untreated = "none" if required is None else _at_most(required)
                yield f"lower bound {seen} does not beat untreated {untreated}"


def _at_least(figure: float) -> str:
    """Never rounded to what is not reached."""
    return f"{floor(figure * 1000) / 1000:.3f}"


def _at_most(figure: float) -> str:
    return f"{ceil(figure * 1000) / 1000:.3f}"
