"""witness serve, keygen, key: the witness that another team runs. It needs neither a daemon nor its settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json
from watchkeeper.cli.ledger.files import text_of
from watchkeeper.core.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from watchkeeper.ledger.cosigning.cosignature import CosigningKey
    from watchkeeper.ledger.cosigning.witness import Logs

app = typer.Typer(help="A witness for others' logs: cosign what only ever grows.", no_args_is_help=True)

Data = Annotated[
    Path, typer.Option("--data", envvar="WATCHKEEPER_WITNESS_DATA", help="The witness's directory: key and memory.")
]
Name = Annotated[str, typer.Option(help="Its name in signatures, like witness.example.com/w1.")]


@app.command()
def keygen(
    data: Data,
    name: Name,
    ml_dsa_44: Annotated[
        bool, typer.Option("--ml-dsa-44", help="A post-quantum key as well: both cosign, one line each.")
    ] = False,
    json: Json = False,
) -> None:
    """Make the witness's key, once. Prints the vkey for others' policies."""
    from watchkeeper.ledger.cosigning.witness import make_keys

    _print_vkeys([key.public.vkey for key in make_keys(data, name, post_quantum=ml_dsa_44)], json)


@app.command()
def key(data: Data, json: Json = False) -> None:
    """The witness's vkey: others write it into their settings and policies."""
    from watchkeeper.ledger.cosigning.witness import load_keys

    _print_vkeys([each.public.vkey for each in load_keys(data)], json)


@app.command()
def serve(
    data: Data,
    log: Annotated[
        list[str],
        typer.Option(envvar="WATCHKEEPER_WITNESS_LOGS", help="A log's vkey, or a file of vkeys; again for each."),
    ],
    listen: Annotated[
        str, typer.Option(envvar="WATCHKEEPER_WITNESS_LISTEN", help="HOST:PORT; port 0 takes a free one.")
    ] = "127.0.0.1:8721",
    name: Annotated[str | None, typer.Option(help="Make a key of this name if there is none yet.")] = None,
    json: Json = False,
) -> None:
    """Cosign these logs' checkpoints, each only if it extends the one before."""
    from watchkeeper.ledger.cosigning.witness import logs_of
    from watchkeeper.ledger.signing.note import VerifierKey

    logs = logs_of(VerifierKey.from_vkey(vkey) for given in log for vkey in _vkeys(given))
    address = _address(listen)
    keys = _keys(data, name)
    vkeys = [each.public.vkey for each in keys]
    _log_to_stderr()
    try:
        _serve(data, keys, logs, address, lambda url: _started(url, vkeys, sorted(logs), json))
    except SystemExit as error:
        raise UnavailableError(
            f"cannot listen on {listen}",
            cause="the address is in use or not of this machine",
            next_step="give another --listen HOST:PORT",
        ) from error


def _keys(data: Path, name: str | None) -> tuple[CosigningKey, ...]:
    """Those that are there; made under this name where there are none."""
    from watchkeeper.ledger.cosigning.witness import KEY_FILE, load_keys, make_keys

    made = name is not None and not (data / KEY_FILE).exists()
    keys = make_keys(data, name or "", post_quantum=False) if made else load_keys(data)
    if name is not None and any(each.public.name != name for each in keys):
        raise ConfigError(
            f"the key in {data} is of {keys[0].public.name}, not of {name}",
            cause="a witness keeps its name, which its signatures carry",
            next_step="leave out --name, or give another --data",
        )
    return keys


def _serve(
    data: Path,
    keys: tuple[CosigningKey, ...],
    logs: Logs,
    address: tuple[str, int],
    started: Callable[[str], None],
) -> None:
    """Until it is told to end; `started` gets the URL. Raises SystemExit where it cannot listen."""
    import asyncio

    import uvicorn

    from watchkeeper.api.witness import create
    from watchkeeper.core.clock import SystemClock
    from watchkeeper.ledger.cosigning.witness import Witness

    host, port = address

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                started(f"http://{host}:{self.servers[0].sockets[0].getsockname()[1]}")

    async def run() -> None:
        witness = Witness(data, keys, logs, SystemClock())
        await witness.open()
        config = uvicorn.Config(
            create(witness), host=host, port=port, log_config=None, access_log=False, limit_concurrency=200
        )
        try:
            await Announcing(config).serve()
        finally:
            await witness.close()

    asyncio.run(run())


def _log_to_stderr() -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _vkeys(given: str) -> list[str]:
    """A vkey has plus signs and no slash at its start; anything else names a file with one vkey a line."""
    if given.count("+") >= 2 and not Path(given).is_file():
        return [given]
    lines = (line.strip() for line in text_of(Path(given)).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(
            f"{listen!r} is not HOST:PORT", place="--listen", next_step="for example --listen 127.0.0.1:8721"
        )
    return host.strip("[]"), int(port)


def _started(url: str, vkeys: list[str], origins: list[str], json: bool) -> None:
    if json:
        out.as_json({"url": url, "vkeys": vkeys, "logs": origins})
    else:
        out.say(f"witnessing {len(origins)} log(s) as {vkeys[0].partition('+')[0]} on {url}")


def _print_vkeys(vkeys: list[str], json: bool) -> None:
    if json:
        out.as_json({"vkeys": vkeys})
        return
    for vkey in vkeys:
        print(vkey)
