"""adapters matrix, check, permissions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.config import ConfigFile
from watchkeeper.cli.context import Json
from watchkeeper.core.actions import Intent
from watchkeeper.core.errors import InputError, RefusedError

if TYPE_CHECKING:
    from watchkeeper.adapters.catalog import System
    from watchkeeper.adapters.contract import Capability
    from watchkeeper.adapters.grants import Grant

app = typer.Typer(help="What can be acted on, how, and with which permissions.", no_args_is_help=True)

Intents = Annotated[
    list[Intent] | None, typer.Option("--intents", help="Only these; repeatable. All if none.", show_default=False)
]
Kinds = Annotated[
    list[str] | None, typer.Option("--kinds", help="Only these kinds of target; repeatable. All if none.")
]
OneSystem = Annotated[str, typer.Option("--system", help="Only this one, such as kubernetes.")]
KIND_SHORT = {"reversible": "undo", "self_restoring": "comes back", "irreversible": "no way back"}


@app.command()
def matrix(
    system: OneSystem = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/intents.md.")] = False,
    json: Json = False,
) -> None:
    """Every intent on every kind of target: the way back, permissions, and what it was tested against."""
    from watchkeeper.cli import intents

    systems = _systems(system)
    if json:
        out.as_json([_row(one, each) for one in systems for each in one.capabilities])
    elif markdown:
        print(intents.page(systems), end="")
    else:
        rows = [
            (one.name, each.target_kind, each.intent, KIND_SHORT[each.kind], each.tested)
            for one in systems
            for each in one.capabilities
        ]
        out.table(("system", "target", "intent", "way back", "tested"), rows, "There is no adapter.")


@app.command()
def permissions(
    system: OneSystem = "",
    intents: Intents = None,
    kinds: Kinds = None,
    to: Annotated[Path | None, typer.Option("--out", help="Write it there; one system only.")] = None,
    json: Json = False,
) -> None:
    """The exact role, policy or file that a set of intents needs, for each system's own authoriser."""
    found = [(one, _grants(one, intents or [], kinds or [])) for one in _systems(system)]
    found = [(one, grants) for one, grants in found if grants]
    if not found:
        raise InputError(
            "no adapter has such an intent on such a target",
            cause="the intent and the kind of target do not go together",
            next_step="watchkeeper adapters matrix",
        )
    if json:
        out.as_json([{"system": one.name, **vars(grant)} for one, grants in found for grant in grants])
        return
    if to is not None and len(found) > 1:
        raise InputError("one file holds one system's document", next_step="give --system with --out")
    texts = [f"# {grant.title}: {grant.how}\n{grant.text}" for _, grants in found for grant in grants]
    out.whole("\n".join(texts), to)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Adapters, such as kubernetes:prod; all if none.")] = None,
    intents: Intents = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Which permissions the configured targets' credentials lack. Changes nothing. Exit code 8 if any is missing."""
    import asyncio

    from watchkeeper.cli.gripcheck import checked
    from watchkeeper.cli.settingsfile import settings_of

    found = asyncio.run(checked(settings_of(config), names or [], frozenset(intents or ())))
    if json:
        out.as_json([each.as_json() for each in found])
    else:
        for each in found:
            for line, style in each.lines():
                out.say(out.wrapped(line), style)
        if not found:
            out.say("no target is configured: see gateways and targets in docs/settings.md", "dim")
    if any(each.lacks for each in found):
        raise typer.Exit(RefusedError.exit_code)


def _systems(name: str) -> tuple[System, ...]:
    from watchkeeper.adapters.catalog import SYSTEMS, system

    return (system(name),) if name else SYSTEMS


def _grants(system: System, intents: list[Intent], kinds: list[str]) -> tuple[Grant, ...]:
    asked = system.covering(intents, kinds)
    return system.grants(asked) if asked else ()


def _row(system: System, each: Capability) -> dict[str, object]:
    return {
        "system": system.name,
        "target_kind": each.target_kind,
        "intent": each.intent,
        "kind": each.kind,
        "tested": each.tested,
        "permissions": list(each.permissions),
        "idempotency": each.idempotency,
        "precondition": each.precondition,
        "postcondition_s": each.postcondition_s,
        "parameters": sorted(each.parameters.model_fields),
    }
