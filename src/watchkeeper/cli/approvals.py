"""approvals, approve, reject: what waits for a person, and the person's word on it."""

from __future__ import annotations

import json as jsontext
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.rulemessages import told_messages
from watchkeeper.core.errors import InputError

if TYPE_CHECKING:
    from watchkeeper.cli.client import Client

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; kept as evidence, not in the ledger itself.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]
ApprovalArg = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]
ApprovalArgs = Annotated[
    list[str], typer.Argument(metavar="APPROVAL...", help="The approval's id; several: one answer to each.")
]
Sets = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="STEP.FIELD=VALUE", help="A parameter to change; may be repeated. Steps count from 0."
    ),
]

app = typer.Typer(help="The plans that wait for a person.", invoke_without_command=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="approvals")

    @root.command()
    def approve(
        context: typer.Context, approvals: ApprovalArgs, comment: Comment = "", yes: Yes = False, json: Json = False
    ) -> None:
        """Approve plans, each once. Shows what will change first."""
        _answer(context, approvals, "approved", comment, sure=yes, json=json)

    @root.command()
    def reject(
        context: typer.Context, approvals: ApprovalArgs, comment: Comment = "", yes: Yes = False, json: Json = False
    ) -> None:
        """Refuse plans; their incidents go to a person."""
        _answer(context, approvals, "rejected", comment, sure=yes, json=json)


@app.callback()
def listing(context: typer.Context, json: Json = False) -> None:
    """The plans that wait for a person, oldest first."""
    if context.invoked_subcommand is not None:
        return
    waiting = client(context).get("/v1/approvals")
    if json:
        out.as_json(waiting)
        return
    for approval in waiting:
        show_approval(approval)
    if not waiting:
        out.say("Nothing waits for a person.")


@app.command()
def show(context: typer.Context, approval: ApprovalArg, json: Json = False) -> None:
    """One plan that waits, or waited: its changes, reach, way back and answers."""
    found = client(context).get(f"/v1/approvals/{approval}")
    if json:
        out.as_json(found)
        return
    show_approval(found)
    for given in found["answers"]:
        out.say(f"  {given['answer']} by {given['by']['id']}")


@app.command()
def edit(
    context: typer.Context,
    approval: ApprovalArg,
    sets: Sets,
    comment: Comment = "",
    json: Json = False,
) -> None:
    """Make another plan of one that waits, within its runbook's bounds.

    The plan that you edited can no longer be approved. Yours is decided and asked about anew; you are its author."""
    edits = [_edit(each) for each in sets]
    api = client(context)
    read = api.get(f"/v1/approvals/{approval}")
    body = {"edits": edits, "plan_hash": read["plan_hash"], "comment": comment}
    made = api.post(f"/v1/approvals/{approval}/edit", body)
    if json:
        out.as_json(made)
        return
    out.say(f"{approval} is superseded by plan {made['plan']}")
    out.say(f"  plan hash {made['plan_hash']}")
    out.say(f"  edited by {', '.join(made['authors'])}")
    out.say("  it is decided and asked about anew: watchkeeper approvals")


def _edit(text: str) -> dict[str, Any]:
    """`0.rpm_limit=60`. A value that is no JSON is a text."""
    place, given, value = text.partition("=")
    step, named, name = place.partition(".")
    if not (given and named and step.isdecimal() and len(step) < 10 and name):
        raise InputError(
            f"cannot read --set {text[:60]!r}", cause="it is no STEP.FIELD=VALUE", next_step="--set 0.rpm_limit=60"
        )
    try:
        parsed = jsontext.loads(value)
    except (ValueError, RecursionError):
        parsed = value
    if isinstance(parsed, dict | list):
        raise InputError(f"cannot read --set {text[:60]!r}", cause="a value is a number, a flag or a text")
    return {"step": int(step), "name": name, "value": parsed}


def _answer(context: typer.Context, approvals: list[str], answer: str, comment: str, *, sure: bool, json: bool) -> None:
    """Nothing is answered unread: a person at a terminal sees the plans and is asked; `--yes` says they were read. The
    answer names each plan by the hash that was shown."""
    verb = "approve" if answer == "approved" else "reject"
    if not sure and not sys.stdin.isatty():
        raise InputError(
            f"there is no terminal to ask at, so nothing was {answer}",
            cause="the command runs in a script, or its input is redirected",
            next_step=f"watchkeeper {verb} {' '.join(approvals)} --yes",
        )
    api = client(context)
    read = [api.get(f"/v1/approvals/{approval}") for approval in dict.fromkeys(approvals)]
    if not (sure and json):
        for each in read:
            show_approval(each, into=out.errors if json else out.console, offer=False)
    if not sure:
        plans = "this plan" if len(read) == 1 else f"these {len(read)} plans"
        typer.confirm(f"{verb.capitalize()} {plans}?", abort=True, err=json)
    said = {"answer": answer, "comment": comment, "via": "terminal"}
    if len(read) == 1:
        _one(api, read[0], said, json=json)
    else:
        _several(api, read, said, json=json)


def _one(api: Client, read: dict[str, Any], said: dict[str, Any], *, json: bool) -> None:
    done = api.post(f"/v1/approvals/{read['id']}", {**said, "plan_hash": read["plan_hash"]})
    if json:
        out.as_json(done)
        return
    out.say(f"{said['answer']}: {read['id']} ({done['state']})")


def _several(api: Client, read: list[dict[str, Any]], said: dict[str, Any], *, json: bool) -> None:
    """Each is told; the first that did not count gives the exit code."""
    plans = [{"approval": each["id"], "plan_hash": each["plan_hash"]} for each in read]
    done = api.post("/v1/approvals", {**said, "plans": plans})
    if json:
        out.as_json(done)
    refused = [each["problem"] for each in done if each["problem"] is not None]
    for each in () if json else done:
        ended = each["state"] if each["problem"] is None else f"refused, {each['problem']['what']}"
        out.say(f"{said['answer']}: {each['approval']} ({ended})")
    if refused:
        from watchkeeper.cli.client import told

        raise typer.Exit(told(refused[0], 409).exit_code)


def show_approval(approval: dict[str, Any], into: Console = out.console, *, offer: bool = True) -> None:
    """The change of state, the blast radius and the way back, as a person needs them to say yes or no.

    `offer`: with the commands that answer it, while it waits."""
    say = partial(out.say, into=into)
    plan = approval["plan"]
    basis = plan["basis"]
    waits, until = approval["state"] == "pending", out.clock_time(approval["expires"])
    if waits:
        say(f"\nwaits for approval {approval['id']} until {until}", "bold yellow")
    else:
        say(f"\n{approval['state']}: approval {approval['id']}, asked until {until}", "bold")
    say(f"  {plan['runbook']['name']} for {approval['incident']}")
    say(f"  {basis['mode']}, {basis['confidence']:.0%} sure")
    if plan["authors"]:
        say(f"  edited by {', '.join(plan['authors'])}")
    for step in approval["steps"]:
        say(f"  {step['intent']} {step['target']['kind']} {step['target']['id']}")
        say(f"    touches {step['count']} of {step['population']}")
        show_changes(step["changes"], into)
        say("    way back:")
        show_changes(step["way_back"], into)
    for gate in approval["decision"]["decision"]["walk"]:
        if not gate["passed"]:
            say(f"  policy asks: {gate['reason']} ({gate['node']})")
    for line in told_messages(approval["messages"]):
        say(out.wrapped(f"  {line}"))
    more = {role for step in approval["reached"] for role in step["roles"]}
    for terms in approval["terms"]:
        say(f"  it takes {_needed(terms)} ({terms['node']})")
    if more:
        say(f"  since nobody answered, also asked: {', '.join(sorted(more))}")
    say(f"  why: watchkeeper ledger show {approval['incident']}")
    if waits and offer:
        say(f"  watchkeeper approve {approval['id']}")
        say(f"  watchkeeper reject {approval['id']}")


def _needed(terms: dict[str, Any]) -> str:
    words = [f"{terms['quorum']} of {' or '.join(terms['roles'])}"]
    words += ["not its author"] if terms.get("not_author") else []
    words += ["who count for this alone"] if terms.get("separate") else []
    return ", ".join(words)


def show_changes(fields: list[dict[str, Any]], into: Console = out.console) -> None:
    for field in fields:
        out.say(f"    {field['path']}: {_value(field['before'])} → {_value(field['after'])}", into=into)


def _value(value: object) -> str:
    return "unset" if value is None else str(value)
