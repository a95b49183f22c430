"""ledger keygen, rotate-key: the signing key, without a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Global, Json

if TYPE_CHECKING:
    from watchkeeper.daemon.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(keygen)
    app.command("rotate-key")(rotate_key)


def keygen(
    file: Annotated[Path, typer.Argument(help="A new file, made readable for its owner alone.")],
    origin: Annotated[str, typer.Option(help="The log's name: ledger.origin in the settings.")],
    json: Json = False,
) -> None:
    """Make a signing key for a log. Prints its verifier key."""
    from watchkeeper.ledger.signing.keys import create_key

    vkey = create_key(file, origin).verifier.vkey
    if json:
        out.as_json({"file": str(file), "vkey": vkey})
    else:
        print(vkey)


def rotate_key(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="WATCHKEEPER_CONFIG", help="The daemon's settings."),
    ] = None,
    json: Json = False,
) -> None:
    """Give the log another signing key, while its daemon is stopped. The next start records it."""
    import asyncio
    import os

    from watchkeeper.daemon.home import Home
    from watchkeeper.daemon.settings import load
    from watchkeeper.daemon.signing import own_key, rotate

    known: Global = context.obj
    named = {} if known.data_dir is None else {"WATCHKEEPER_DATA_DIR": str(known.data_dir)}
    settings = load(config, {**os.environ, **named})
    own_key(settings.ledger, settings.data_dir)  # before `open`, which would make the directory
    home = Home(settings.data_dir)
    home.open()
    try:
        made = rotate(settings.ledger, settings.data_dir, asyncio.run(_newest(settings)))
    finally:
        home.close()
    before, after = made.previous.verifier.vkey if made.previous else "", made.current.verifier.vkey
    if json:
        out.as_json({"previous": before, "following": after})
        return
    out.say(f"the log's next verifier key: {after}")
    out.say(out.wrapped("start the daemon: it records the change. Who remembers an older key of this log can keep it."))


async def _newest(settings: Settings) -> str | None:
    """The newest checkpoint; None where there is no database yet."""
    from watchkeeper.ledger.reader import LogReader
    from watchkeeper.store.engine import Store

    if settings.database.url is None and not (settings.data_dir / "watchkeeper.db").exists():
        return None
    store = Store(settings.database_url())
    try:
        return await LogReader(store).checkpoint()
    finally:
        await store.close()
