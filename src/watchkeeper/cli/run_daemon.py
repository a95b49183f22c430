"""serve and demo: the commands that start something. Everything heavy is imported when they run."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.settingsfile import settings_of

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings (YAML).", envvar="WATCHKEEPER_CONFIG", show_default=False),
]


def register(app: typer.Typer) -> None:
    @app.command()
    def serve(config: Config = None) -> None:
        """Stand the watch: run the daemon until it is told to end."""
        asyncio.run(_serve(settings_of(config)))

    @app.command()
    def demo(
        shadow: Annotated[bool, typer.Option("--shadow", help="Grant nothing: see, decide, touch nothing.")] = False,
        seed: Annotated[int, typer.Option(help="Of the lab's callers.")] = 1,
        wait: Annotated[float, typer.Option(help="Seconds to wait for your approval.", min=0, max=300)] = 8.0,
        keep: Annotated[Path | None, typer.Option(help="Keep data and logs in this directory.")] = None,
    ) -> None:
        """Three incidents in a small AI system, handled end to end, in two minutes."""
        from watchkeeper.cli.demo.director import run

        raise typer.Exit(run(shadow=shadow, seed=seed, wait_s=wait, keep=keep))


async def _serve(settings: object) -> None:
    from watchkeeper.daemon.life import running
    from watchkeeper.daemon.settings import Settings

    assert isinstance(settings, Settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as (_, url):
        out.say(f"Watchkeeper is watching. API: {url}  (data: {settings.data_dir})")
        await stop.wait()
