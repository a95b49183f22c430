"""`python -m watchkeeper.lab`: runs the lab until SIGTERM or SIGINT, then stops it in order.

It prints one line with the path of `lab.json` when everything is up, and nothing secret.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from pydantic import SecretStr, ValidationError

from watchkeeper.core.clock import Clock, SystemClock
from watchkeeper.core.errors import InputError, WatchkeeperError
from watchkeeper.lab.config import LabConfig
from watchkeeper.lab.world import open_world


async def run(config: LabConfig, clock: Clock | None = None, stop: asyncio.Event | None = None) -> None:
    """Runs the lab until `stop` is set or the process is asked to end."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    handled = (signal.SIGTERM, signal.SIGINT)
    for number in handled:
        loop.add_signal_handler(number, stop.set)
    try:
        async with open_world(config, clock or SystemClock()) as world:
            print(f"lab is up: {config.directory / 'lab.json'} (gateway {world.info.gateway_url})", flush=True)
            await stop.wait()
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def parse(arguments: list[str]) -> LabConfig:
    parser = argparse.ArgumentParser(prog="python -m watchkeeper.lab", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where lab.json, keys and state live")
    parser.add_argument("--port", type=int, default=0, help="the gateway's port; 0 picks free ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pace", type=float, default=1.0, help="factor on the callers' rate; 0: no callers")
    parser.add_argument("--otlp", metavar="URL", help="the daemon's address")
    parser.add_argument("--token-file", type=Path, help="the bearer token for the daemon")
    parser.add_argument("--batch-write-at", type=float, default=1.0, help="seconds between spend-log batches")
    parser.add_argument("--rate-window", type=float, default=60.0, help="seconds of the gateway's rate windows")
    parser.add_argument("--environment", default="lab", help="what spans say of where they come from")
    options = parser.parse_args(arguments)
    token = options.token_file.read_text().strip() if options.token_file else ""
    try:
        return LabConfig(
            directory=options.dir,
            port=options.port,
            seed=options.seed,
            pace=options.pace,
            otlp_url=options.otlp,
            otlp_token=SecretStr(token),
            proxy_batch_write_at=options.batch_write_at,
            rate_window_s=options.rate_window,
            environment=options.environment,
        )
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise InputError(first["msg"], place=str(first["loc"][0])) from error


def main() -> int:
    try:
        asyncio.run(run(parse(sys.argv[1:])))
    except WatchkeeperError as error:
        print(error.diagnostics(), file=sys.stderr)
        return error.exit_code
    return 0
