"""config check, show, reference, migrate, roles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json
from watchkeeper.cli.settingsfile import settings_of
from watchkeeper.core.errors import WatchkeeperError

if TYPE_CHECKING:
    from watchkeeper.cli.checks import Check

app = typer.Typer(help="The settings: one YAML file and WATCHKEEPER_* variables.", no_args_is_help=True)

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", envvar="WATCHKEEPER_CONFIG", help="The settings file; the environment alone if none."
    ),
]


@app.command()
def check(
    config: ConfigFile = None,
    connect: Annotated[bool, typer.Option("--connect", help="Ask the database and the gateways too.")] = False,
    json: Json = False,
) -> None:
    """Validate the settings and all they name. Changes nothing."""
    from watchkeeper.cli import checks

    settings = settings_of(config)
    found = [*checks.offline(settings), *(checks.connecting(settings) if connect else ())]
    if json:
        out.as_json({"settings_digest": settings.digest(), "checks": [_as_json(each) for each in found]})
    else:
        for each in found:
            _show(each)
        if not connect:
            out.say("the database and the gateways were not asked: give --connect", "dim")
    first: WatchkeeperError | None = next((each.error for each in found if each.error is not None), None)
    if first is not None:
        raise typer.Exit(first.exit_code)


@app.command()
def show(config: ConfigFile = None, json: Json = False) -> None:
    """The settings in effect, defaults and all. Secrets are masked."""
    import yaml

    settings = settings_of(config).model_dump(mode="json")
    if json:
        out.as_json(settings)
        return
    out.say(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=out.YAML_WIDTH))


@app.command()
def reference(json: Json = False) -> None:
    """Every setting with its type, default and meaning, in Markdown."""
    from watchkeeper.cli import reference

    if json:
        out.as_json([vars(setting) for setting in reference.settings()])
        return
    print(reference.markdown(), end="")


@app.command()
def migrate(config: ConfigFile = None, json: Json = False) -> None:
    """Bring the database to the schema of this version, as `serve` does at start."""
    import asyncio

    from watchkeeper.daemon.compose import pruner_of
    from watchkeeper.daemon.database import prepare
    from watchkeeper.store import schema
    from watchkeeper.store.engine import Store

    settings = settings_of(config)

    async def upgrade() -> tuple[str | None, str]:
        store = Store(settings.database_url())
        pruner = pruner_of(settings, store)
        try:
            guarding = await prepare(settings, store, pruner)
            return await schema.current(store), guarding
        finally:
            await store.close()
            await pruner.close()

    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    revision, guarding = asyncio.run(upgrade())
    if json:
        out.as_json({"schema": revision, "guarding": guarding})
        return
    out.say(f"the database is at schema {revision}, its record guarded by {guarding.replace('_', ' ')}")


@app.command()
def roles(
    config: ConfigFile = None,
    owner: Annotated[str, typer.Option(help="Owns the tables and migrates.")] = "watchkeeper_owner",
    daemon: Annotated[str, typer.Option(help="The daemon's.")] = "watchkeeper",
    pruner: Annotated[str, typer.Option(help="May delete evidence and pruned entries.")] = "watchkeeper_pruner",
    schema: Annotated[str, typer.Option(help="Where the tables are.")] = "public",
    previous: Annotated[str, typer.Option(help="The role that has owned everything until now, if any.")] = "",
    json: Json = False,
) -> None:
    """Print the SQL that sets the three PostgreSQL roles apart. Changes nothing."""
    from watchkeeper.cli import rolesql

    script = rolesql.script(settings_of(config), rolesql.Names(owner, daemon, pruner, schema, previous))
    if json:
        out.as_json({"prepare": script.prepare, "grant": script.grant})
        return
    print(script.text(), end="")


def _as_json(check: Check) -> dict[str, str]:
    why = {} if check.error is None else {"code": check.error.code, "error": check.error.diagnostics()}
    if check.warning:
        why = {"warning": check.warning}
    return {"name": check.name, "state": check.state, "detail": check.detail, **why}


def _show(check: Check) -> None:
    if check.error is not None:
        out.say(out.wrapped(f"failed  {check.name}: {check.error.diagnostics()}"), "red")
    elif check.warning:
        out.say(out.wrapped(f"warning {check.name}: {check.warning}"), "yellow")
    else:
        out.say(out.wrapped(f"ok      {check.name}: {check.detail}"), "green")
