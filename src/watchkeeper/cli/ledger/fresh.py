"""Starts fresh processes that make an export's decisions again, each a part of it, and puts their reports together.

The processes share nothing with this one, with each other or with a daemon: they read files. One that ends without a
report is an error, never a match.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ValidationError

from watchkeeper.core.errors import UnavailableError, WatchkeeperError
from watchkeeper.ledger.exports.jsonlines import Part, parts
from watchkeeper.ledger.exports.layout import ENTRIES
from watchkeeper.ledger.replays.replay import ReplayReport, merged
from watchkeeper.policies.replay.recheck import Said, Told

PROGRAM = "watchkeeper.policies.replay.recheck"
LEAST_BYTES = 4_194_304
"""What is worth a process of its own."""

Tell = Callable[[int], None]


def recheck(directory: Path, tell: Tell, processes: int | None = None, *, alone: bool = False) -> ReplayReport:
    """`tell` hears how many bytes of the entries are done. `alone`: what needs evidence counts as pruned. Raises the
    error of the first process that has one."""
    path = directory / ENTRIES
    wanted = parts(path, 1)
    size = wanted[-1].end if wanted else 0
    wanted = parts(path, max(1, min(processes or os.cpu_count() or 1, size // LEAST_BYTES))) or [Part(0, 0)]
    done = [0] * len(wanted)

    def one(number: int) -> ReplayReport:
        def so_far(count: int) -> None:
            done[number] = count
            tell(sum(done))

        return _process(directory, wanted[number], so_far, alone=alone)

    with ThreadPoolExecutor(len(wanted)) as pool:
        return merged(list(pool.map(one, range(len(wanted)))))


def _process(directory: Path, part: Part, tell: Tell, *, alone: bool) -> ReplayReport:
    """`-P`: the folder in which a person happens to stand is no place to take code from."""
    command = [sys.executable, "-P", "-m", PROGRAM, str(directory), str(part.start), str(part.end)]
    command += ["alone"] if alone else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:  # noqa: S603  # ours
        assert process.stdout is not None, "a pipe was asked for"
        for line in process.stdout:
            said = _said(line)
            if said.error is not None:
                raise _as_error(said.error)
            tell(said.done)
            if said.report is not None:
                return said.report
    raise _ended(process.returncode)


def _said(line: bytes) -> Said:
    try:
        return Said.model_validate_json(line)
    except ValidationError as error:
        raise _ended(None) from error


def _as_error(told: Told) -> WatchkeeperError:
    error = WatchkeeperError(told.what, cause=told.cause, next_step=told.next, place=told.place)
    error.code, error.exit_code = told.code, told.exit_code
    return error


def _ended(code: int | None) -> UnavailableError:
    return UnavailableError(
        "the replay process ended without a report" + ("" if code is None else f", with exit code {code}"),
        cause="it was killed, or ran out of memory; what it said is above",
        next_step="watchkeeper ledger replay --check, once more",
    )
