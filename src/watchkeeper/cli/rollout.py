"""rollout list, show, advance, set-back, judge, history."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import InputError

app = typer.Typer(help="How far each service has come: phases, their evidence, moves.", no_args_is_help=True)

Scope = Annotated[str, typer.Argument(help="ENVIRONMENT/SERVICE, such as production/chat.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept as evidence, not in the ledger itself.")]


class Verdict(StrEnum):
    RIGHT = "right"
    WRONG = "wrong"


@app.command("list")
def list_(context: typer.Context, json: Json = False) -> None:
    """Every service, its phase, and what the next one still lacks."""
    found = client(context).get("/v1/rollouts")
    if json:
        out.as_json(found)
        return
    rows = [(_scope(each["scope"]), each["phase"], _since(each), _lacks(each)) for each in found]
    out.table(("service", "phase", "since", "next"), rows, "No service is configured, and none was seen.")


@app.command()
def show(context: typer.Context, scope: Scope, json: Json = False) -> None:
    """One service, with each criterion of the next phase: observed, required, met."""
    found = client(context).get(_path(scope))
    if json:
        out.as_json(found)
        return
    by = f", by {found['by']}" if found["by"] else ""
    out.say(Text.assemble((out.plain(scope), "bold"), out.plain(f": {found['phase']} since {_since(found)}{by}")))
    if found["next"] is None:
        out.say("the last phase: nothing more is asked")
        return
    rows = [
        (_mark(each), each["name"].replace("_", " "), _number(each["observed"]), f"{_sign(each)} {each['required']:g}")
        for each in found["criteria"]
    ]
    out.table(("", f"asked for {found['next']}", "observed", "required"), rows, "")
    if found["missing"]:
        out.say(f"{len(found['missing'])} of {len(found['criteria'])} not met", "yellow")
    else:
        out.say(f"ready: watchkeeper rollout advance {scope} -m WHY", "green")


@app.command()
def advance(context: typer.Context, scope: Scope, reason: Reason, json: Json = False) -> None:
    """Move a service one phase up. Takes a person, and the evidence."""
    _moved(client(context).post(_path(scope, "advance"), {"reason": reason}), json)


@app.command("set-back")
def set_back(context: typer.Context, scope: Scope, reason: Reason, json: Json = False) -> None:
    """Move a service one phase down, at once."""
    said = client(context).post(_path(scope, "set-back"), {"reason": reason})
    _moved(said, json)
    if not json:
        out.say("  decisions made before are made anew")


@app.command()
def judge(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="As `incidents --all` shows it.")],
    verdict: Annotated[Verdict, typer.Argument(help="Whether what was found and proposed was right.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Say whether a diagnosis and its plan were right: evidence where nothing was carried out."""
    given = {"right": verdict is Verdict.RIGHT, "reason": reason}
    said = client(context).post(f"/v1/incidents/{incident}/judge", given)
    if json:
        out.as_json(said)
        return
    out.say(f"{incident}: {verdict}, counted for {_scope(said['scope'])}")


@app.command()
def history(
    context: typer.Context,
    scope: Scope,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    json: Json = False,
) -> None:
    """Moves and judgements, the latest first, with who said so."""
    found = client(context).get(_path(scope, "history"), limit=str(limit))
    if json:
        out.as_json(found)
        return
    rows = [_line(each) for each in found]
    out.table(("when", "what", "by"), rows, "Nobody has said anything about it yet.")


def _path(scope: str, verb: str = "") -> str:
    environment, _, service = scope.partition("/")
    if not environment or not service or "/" in service:
        raise InputError(
            f"{scope!r} names no service", cause="it is ENVIRONMENT/SERVICE", next_step="watchkeeper rollout list"
        )
    return f"/v1/rollouts/{environment}/{service}" + (f"/{verb}" if verb else "")


def _scope(scope: dict[str, str]) -> str:
    return f"{scope['environment']}/{scope['service']}"


def _since(rollout: dict[str, Any]) -> str:
    return out.day_time(rollout["since"]) if rollout["since"] else "the beginning"


def _lacks(rollout: dict[str, Any]) -> Text:
    if rollout["next"] is None:
        return Text("-")
    if not rollout["missing"]:
        return Text(f"{rollout['next']}: ready", "green")
    return Text(f"{rollout['next']}: lacks " + ", ".join(each["name"].replace("_", " ") for each in rollout["missing"]))


def _mark(criterion: dict[str, Any]) -> Text:
    return Text("ok", "green") if criterion["met"] else Text("no", "bold red")


def _number(observed: float | None) -> str:
    return "unknown" if observed is None else f"{observed:.4g}"


def _sign(criterion: dict[str, Any]) -> str:
    return "≤" if criterion["name"] in ("rollbacks", "unsafe", "unknown_effects") else "≥"


def _moved(said: dict[str, Any], json: bool) -> None:
    if json:
        out.as_json(said)
        return
    out.say(f"{_scope(said['scope'])}: {said['previous']} to {said['phase']}")


def _line(each: dict[str, Any]) -> tuple[str, str, str]:
    said = each["advanced"] or each["set_back"] or each["judged"]
    if each["judged"]:
        what = f"{said['incident']} {'right' if said['right'] else 'wrong'}"
    else:
        why = f" ({said['why'].replace('_', ' ')}, {said['incident']})" if said.get("incident") else ""
        what = f"{said['previous']} to {said['phase']}{why}"
    return out.day_time(said["at"]), what, said["by"]["id"]
