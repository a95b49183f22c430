"""One guard with its threads in this process, set up by the environment. Made anew in a process that was forked."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict

from watchkeeper_guard.disk import State
from watchkeeper_guard.guard import Guard
from watchkeeper_guard.settings import Settings, from_environment
from watchkeeper_guard.shared import SharedRuns
from watchkeeper_guard.stream import Stream
from watchkeeper_guard.timings import Timings
from watchkeeper_guard.wire import Daemon


class Running:
    """The parts that belong together, started."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = from_environment() if settings is None else settings
        self.pid, self.timings, self.cpu, self.counted = os.getpid(), Timings(), Timings(), Timings()
        state = State(self.settings.state_dir)
        _forget_dead_workers(state)
        self.runs = SharedRuns(state.directory / "runs.bin")
        self.guard = Guard(self.runs, on_start=self.settings.on_start)
        self.instance = f"{socket.gethostname()}/{self.pid}"
        given = self.settings
        daemon = Daemon(given.url, given.token, self.instance, given.ca_file) if given.url else None
        self.stream = Stream(self.guard, state, daemon, instance=self.instance, stats=self.stats)
        self.stream.start()

    def stats(self) -> dict[str, object]:
        """What `show` tells of a worker."""
        rules, reports = self.guard.rules, self.guard.reports
        return {
            "instance": self.instance,
            "rules_version": 0 if rules is None else rules.version,
            "refused": reports.refused,
            "reports_waiting": len(reports),
            "reports_dropped": reports.dropped,
            "under_way": self.guard.under_way,
            "unsettled": self.guard.unsettled,
            "runs_forgotten": self.runs.forgotten,
            "runs_torn": self.runs.torn,
            "hook_ms": asdict(self.timings.quantiles()),
            "hook_cpu_ms": asdict(self.cpu.quantiles()),
            "hook_counted_ms": asdict(self.counted.quantiles()),
        }


def _forget_dead_workers(state: State) -> None:
    """The figures of workers that ended; the directory does not grow with every restart."""
    for file in state.directory.glob("worker-*.json"):
        pid = file.stem.removeprefix("worker-")
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, ValueError):
            file.unlink(missing_ok=True)
        except PermissionError:
            continue
