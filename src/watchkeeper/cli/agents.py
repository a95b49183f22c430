"""agents list, show, promote, demote, ceiling, revoke, reinstate, history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import InputError

app = typer.Typer(help="Who does the work: what each agent is, may and used.", no_args_is_help=True)

Agent = Annotated[str, typer.Argument(help="A specialist, such as remediator/litellm.")]
Action = Annotated[str, typer.Argument(help="RUNBOOK/INTENT, such as throttle-runaway-caller/throttle.")]
Scope = Annotated[str, typer.Argument(help="ENVIRONMENT/SERVICE, such as production/chat.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept as evidence, not in the ledger itself.")]

Because = Annotated[str, typer.Option("--reason", "-m", help="Why; it may be left out where it is urgent.")]

STATES = {"active": "green", "revoked": "bold red", "over_budget": "yellow"}
OVER_BUDGET = {
    "detector": "it goes on watching",
    "diagnoser": "its incidents go to people",
    "remediator": "people are asked, nothing is done alone",
}
"""What follows, by role."""


@app.command("list")
def list_(context: typer.Context, json: Json = False) -> None:
    """Every agent, with its state and how far it may go."""
    found = client(context).get("/v1/agents")
    if json:
        out.as_json(found)
        return
    rows = [
        (each["name"], Text(each["state"].replace("_", " "), STATES[each["state"]]), each["ceiling"], _promoted(each))
        for each in found
    ]
    out.table(("agent", "state", "ceiling", "promoted for"), rows, "")


@app.command()
def show(context: typer.Context, agent: Agent, json: Json = False) -> None:
    """One agent whole: make, memory, budget, promotions, and who revoked it."""
    found = client(context).get(_path(agent))
    if json:
        out.as_json(found)
        return
    out.say(Text.assemble((out.plain(found["name"]), "bold"), f", {found['state'].replace('_', ' ')}"))
    for line in _lines(found):
        out.say(out.wrapped(f"  {line}"))


@app.command()
def promote(
    context: typer.Context,
    agent: Agent,
    action: Action,
    scope: Scope,
    reason: Reason,
    autonomy: Annotated[str, typer.Option("--to", help="bounded or full.")] = "bounded",
    json: Json = False,
) -> None:
    """Let it act alone for one action in one scope, where policy asks for a promotion. Takes evidence."""
    given = {**_given(action, scope), "autonomy": autonomy, "reason": reason}
    api = client(context)
    seen = api.get(_path(agent))["newest"]
    _say(api.post(_path(agent, "promote"), {**given, "after": seen}), json)


@app.command()
def demote(
    context: typer.Context, agent: Agent, action: Action, scope: Scope, reason: Reason, json: Json = False
) -> None:
    """Take a promotion back, at once."""
    said = client(context).post(_path(agent, "demote"), {**_given(action, scope), "reason": reason})
    if json:
        out.as_json(said)
        return
    for each in said:
        _say(each, json)


@app.command()
def ceiling(
    context: typer.Context,
    agent: Agent,
    to: Annotated[str, typer.Argument(help="none, shadow, propose, bounded or full.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """How far an agent may ever go, whatever policy says."""
    _say(client(context).post(_path(agent, "ceiling"), {"ceiling": to, "reason": reason}), json)


@app.command()
def revoke(context: typer.Context, agent: Agent, reason: Because = "", json: Json = False) -> None:
    """Stop one agent in one commit; the same as `stop agent:NAME --no-wait`."""
    report = client(context).post(_path(agent, "revoke"), {"reason": reason})
    if json:
        out.as_json(report)
        return
    out.say(Text.assemble(("revoked", "bold red"), out.plain(f" {agent} at epoch {report['epoch']}")))
    for claim in report["in_flight"]:
        out.say(f"  in flight, may still land: {claim['key']}")


@app.command()
def reinstate(context: typer.Context, agent: Agent, reason: Because = "", json: Json = False) -> None:
    """Lift that stop, as an admin."""
    report = client(context).post(_path(agent, "reinstate"), {"reason": reason})
    if json:
        out.as_json(report)
        return
    out.say(Text.assemble(("reinstated", "green"), out.plain(f" {agent} at epoch {report['epoch']}")))


@app.command()
def history(
    context: typer.Context,
    agent: Agent,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many lines.")] = 50,
    before: Annotated[int, typer.Option(help="Go on with what is older than this number.")] = 0,
    json: Json = False,
) -> None:
    """What was said of an agent and done to it, the latest first: who, and why."""
    older = {"before": str(before)} if before else {}
    found = client(context).get(_path(agent, "history"), limit=str(limit), **older)
    if json:
        out.as_json(found)
        return
    if not found:
        out.say("Nobody has said anything about it yet.")
    for each in found:
        said = each["word"] or each["stop"]
        what = _said(said) if each["word"] else ("revoked" if said["stopped"] else "reinstated")
        out.say(out.wrapped(f"{each['number']}  {out.day_time(each['at'])}  {what}, by {said['by']['id']}"))
        if each["why"]:
            out.say(out.wrapped(f"    {each['why']}"))
    if len(found) == limit:
        out.say(f"  older ones: --before {found[-1]['number']}")


def _path(agent: str, verb: str = "") -> str:
    if agent.count("/") != 1:
        raise InputError(f"{agent!r} names no agent", next_step="watchkeeper agents list")
    return f"/v1/agents/{agent}" + (f"/{verb}" if verb else "")


def _given(action: str, scope: str) -> dict[str, Any]:
    runbook, _, intent = action.rpartition("/")
    environment, _, service = scope.partition("/")
    if not (runbook and intent and environment and service):
        raise InputError(
            f"{action!r} in {scope!r} is no action in a scope",
            cause="an action is RUNBOOK/INTENT, a scope ENVIRONMENT/SERVICE",
            next_step="watchkeeper trust lists both",
        )
    return {"runbook": runbook, "intent": intent, "scope": {"environment": environment, "service": service}}


def _promoted(agent: dict[str, Any]) -> str:
    return ", ".join(_where(each) for each in agent["promotions"] if _holds(agent, each)) or "-"


def _holds(agent: dict[str, Any], said: dict[str, Any]) -> bool:
    return bool(said["manifest_digest"] == agent["manifest_digest"])


def _where(said: dict[str, Any]) -> str:
    scope = said["scope"]
    return f"{said['runbook']}/{said['intent']} in {scope['environment']}/{scope['service']}"


def _lines(agent: dict[str, Any]) -> Iterator[str]:
    yield f"role {agent['role']}, ceiling {agent['ceiling']}"
    yield f"make {agent['manifest_digest'][:19]} of {len(agent['modules'])} modules"
    yield f"keeps {agent['memory']}"
    budget, used = agent["budget"], agent["used"]
    yield (
        f"used in the last {budget['per_s'] // 60} minutes: {used['iterations']} of {budget['iterations']} iterations, "
        f"{used['wall_s']:.1f} of {budget['wall_s']:g} s, {used['tokens']} of {budget['tokens']} tokens, "
        f"{used['usd']:.2f} of {budget['usd']:.2f} USD"
    )
    if agent["spent"]:
        yield f"over budget: {', '.join(agent['spent'])}; {OVER_BUDGET[agent['role']]}"
    if agent["revoked"]:
        yield f"revoked by {agent['revoked']['changed_by']} at {out.day_time(agent['revoked']['changed'])}"
    for each in agent["promotions"]:
        void = "" if _holds(agent, each) else " (void: for another make)"
        yield f"promoted to {each['autonomy']}: {_where(each)}{void}"


def _said(said: dict[str, Any]) -> str:
    why = "" if said["why"] == "person" else f" ({said['why'].replace('_', ' ')})"
    if said["word"] == "ceiling":
        return f"ceiling {said['previous']} to {said['autonomy']}{why}"
    to = f" to {said['autonomy']}" if said["autonomy"] else ""
    return f"{said['word']}{to}: {_where(said)}{why}"


def _say(said: dict[str, Any], json: bool) -> None:
    if json:
        out.as_json(said)
        return
    out.say(out.wrapped(f"{said['agent']}: {_said(said)}"))
    if said["epoch"] is not None:
        out.say("  decisions made before are made anew")
