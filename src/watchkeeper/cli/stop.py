"""stop: takes authority away at once, then waits until it is known what became of what was already sent.

"Stopped" is said only when nothing of the scope may still land. What is not settled in time is named, and so is what
could not be undone: exit code 12 then. The stop itself holds in either case, also when this command is interrupted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.progress import shown
from watchkeeper.core.errors import UnsettledError, WatchkeeperError

if TYPE_CHECKING:
    from watchkeeper.cli.client import Client

Scope = Annotated[
    str,
    typer.Argument(help="all, environment:E, service:E/S, agent:A, action:RUNBOOK/INTENT or target:ADAPTER/KIND/ID."),
]
Wait = Annotated[int, typer.Option("--wait", min=0, max=3600, help="Seconds to wait until all is known.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Say what is in flight, and do not wait for it.")]
ThenUndo = Annotated[bool, typer.Option("--then-undo", help="Also undo, by your order, what stands half done.")]

LOOK_S = 0.5
_LISTS = {
    "environment": "watchkeeper rollout list",
    "service": "watchkeeper rollout list",
    "agent": "watchkeeper agents list",
}
WELL = ("undone", "given_back", "nothing_was_done")
"""How an undo may come out without anything left to do."""


def register(app: typer.Typer) -> None:
    @app.command()
    def stop(
        context: typer.Context,
        scope: Scope = "all",
        wait: Wait = 60,
        no_wait: NoWait = False,
        then_undo: ThenUndo = False,
        json: Json = False,
    ) -> None:
        """Take authority away in one atomic step; wait until what was sent is known."""
        api, ends = client(context), time.monotonic() + (0 if no_wait else wait)
        report = api.post("/v1/stop", {"scope": scope, "then_undo": then_undo})
        if not json:
            _say_taken(report)
        known = _known(api, scope)
        if not known:
            out.say(
                f"  nothing known has this name, is it spelt right? {_LISTS[_kind(scope)]}",
                "bold yellow",
                into=out.errors,
            )
        unsettled = _settled_by(api, report, ends)
        undo = _undone_by(api, report, ends)
        if json:
            out.as_json({**report, "stopped": not unsettled, "known": known, "unsettled": unsettled, "undone": undo})
        else:
            _say_end(report, unsettled, undo)
        left = [each for each in undo if each["came"] not in WELL]
        if unsettled or left or report["not_covered"]:
            raise _not_all(report, unsettled, left)


def _kind(scope: str) -> str:
    return scope.partition(":")[0]


def _known(api: Client, scope: str) -> bool:
    """Whether there is anything of this name, so that a slip is not taken for a stop. Asked once the stop holds; what
    cannot be asked counts as known."""
    kind, name = _kind(scope), scope.partition(":")[2]
    if kind not in _LISTS:
        return True
    try:
        if kind == "agent":
            return any(each["name"] == name for each in api.get("/v1/agents"))
        scopes = [each["scope"] for each in api.get("/v1/rollouts")]
    except WatchkeeperError:
        return True
    if kind == "environment":
        return any(each["environment"] == name for each in scopes)
    return any(f"{each['environment']}/{each['service']}" == name for each in scopes)


def _say_taken(report: dict[str, Any]) -> None:
    head = Text.assemble(("authority taken away", "bold red"), out.plain(f": {report['scope']}, {_epoch(report)}"))
    out.say(head)
    for claim in report["in_flight"]:
        out.say(f"  in flight, may still land: {claim['key']}")
    for remedy in report["half_done"]:
        out.say(f"  stands as it is, changed by {remedy['incident']}:")
        out.say(f"    {remedy['change']['target']['id']}")
    if not report["in_flight"]:
        out.say("  nothing was in flight")


def _epoch(report: dict[str, Any]) -> str:
    return f"epoch {report['epoch']}"


def _settled_by(api: Client, report: dict[str, Any], ends: float) -> list[dict[str, Any]]:
    """What was in flight at the stop and is not settled when the time is over."""
    ids = {claim["id"] for claim in report["in_flight"]}
    with shown("settling what is in flight") as tell:
        while ids:
            now = api.get("/v1/stop", scope=report["scope"])
            left = [each for each in now["unsettled"] if each["claim"]["id"] in ids]
            if tell is not None:
                tell(len(ids) - len(left), len(ids))
            if not left or time.monotonic() >= ends:
                return left
            time.sleep(LOOK_S)
    return []


def _undone_by(api: Client, report: dict[str, Any], ends: float) -> list[dict[str, Any]]:
    """How each undo that was ordered stands when all have ended, or the time is over."""
    if report["undo"] is None:
        return []
    with shown("undoing what stood half done") as tell:
        while True:
            results: list[dict[str, Any]] = api.get(f"/v1/stop/undo/{report['undo']}")["results"]
            open_ = [each for each in results if each["came"] in ("waiting", "unknown")]
            if tell is not None:
                tell(len(results) - len(open_), len(results))
            if not open_ or time.monotonic() >= ends:
                return results
            time.sleep(LOOK_S)


def _say_end(report: dict[str, Any], unsettled: list[dict[str, Any]], undo: list[dict[str, Any]]) -> None:
    for each in unsettled:
        why = "unknown: its target could not say" if each["unknown"] else "may still land"
        out.say(f"  not settled, {why}: {each['claim']['key']}")
    for each in undo:
        why = f", {each['why'].replace('_', ' ')}" if each["why"] else ""
        out.say(f"  {each['came'].replace('_', ' ')}{why}: {each['target']}")
        out.say(f"    step {each['step']} of {each['incident']}")
    if report["not_covered"]:
        out.say(f"  not covered, too many at once: {report['not_covered']}; order it again for those")
    if not unsettled:
        out.say(Text.assemble(("stopped", "bold red"), out.plain(f" {report['scope']} at {_epoch(report)}")))
    out.say(f"  an admin lifts it: watchkeeper resume {report['scope']}")


def _not_all(report: dict[str, Any], unsettled: list[dict[str, Any]], left: list[dict[str, Any]]) -> UnsettledError:
    named = [each["claim"]["key"] for each in unsettled] + [each["target"] for each in left]
    named += [f"{report['not_covered']} not covered"] if report["not_covered"] else []
    what = "not known to be stopped" if unsettled else "stopped, and not all of it is undone"
    return UnsettledError(
        f"{report['scope']} is {what}: {', '.join(named)[:400]}",
        cause="authority is taken away and stays so; what was sent before, or holds still, is told above",
        next_step="watchkeeper status, and look at the targets",
    )
