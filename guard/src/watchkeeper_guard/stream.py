"""Four small threads beside the calls: one follows the rules on disk, one gets newer ones, one keeps them, one reports.

Of the workers on one host only the holder of a lock asks the daemon; the rest see its file within `FOLLOW_S`. When it
ends, the kernel gives the lock back and another takes over. With the daemon away the last rules stand. Rules of a lower
version than those in force are NOT taken: the daemon's versions only grow.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import threading
from collections.abc import Callable
from uuid import uuid4

from watchkeeper_guard import __version__
from watchkeeper_guard.disk import Stamp, State, open_envelope
from watchkeeper_guard.document import RulesError, parse
from watchkeeper_guard.guard import Guard
from watchkeeper_guard.reports import API_VERSION, Line, Tally, as_document
from watchkeeper_guard.wire import Daemon, WireError

FOLLOW_S = 0.2
REPORT_S = 1.0
BACK_OFF_S = (0.2, 10.0)

log = logging.getLogger("watchkeeper_guard")


class Stream:
    """`start` once a process; the threads are daemons and end with it, or by `stop`."""

    def __init__(
        self, guard: Guard, state: State, daemon: Daemon | None, *, instance: str, stats: Callable[[], object]
    ) -> None:
        self._guard, self._state, self._daemon, self._stats = guard, state, daemon, stats
        self._instance = instance
        self._stopped, self._stamp = threading.Event(), _NEVER
        self._lock, self._arrived = threading.Lock(), threading.Event()
        self._to_keep: object | None = None
        self._pending: tuple[str, list[tuple[Line, Tally]], int] | None = None
        self._told_version = 0
        self._last_error = ""

    def start(self) -> None:
        self.follow()  # the last rules stand before the first call is judged
        parts = [self._following] + ([] if self._daemon is None else [self._asking, self._keeping, self._reporting])
        for part in parts:
            threading.Thread(target=part, name=f"watchkeeper-guard{part.__name__}", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def follow(self) -> None:
        """Take what is on disk, if it is newer than what is in force."""
        stamp = self._state.stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            rules = self._state.load()
        except (RulesError, OSError) as error:
            self._complain(f"the rules on disk cannot be used: {error}")
            return
        known = self._guard.rules
        if rules is not None and (known is None or rules.version > known.version):
            self._guard.put(rules)

    def _following(self) -> None:
        turns = 0
        while not self._stopped.wait(FOLLOW_S):
            self.follow()
            turns += 1
            if turns % 5 == 0:
                self._write_stats()

    def _write_stats(self) -> None:
        try:
            name = f"worker-{os.getpid()}.json"
            self._state.write(name, json.dumps(self._stats()).encode())
        except OSError as error:
            self._complain(f"the worker's figures cannot be written: {error}")

    def _asking(self) -> None:
        with (self._state.directory / "stream.lock").open("w") as lock:
            while not self._stopped.wait(FOLLOW_S * random.uniform(0.5, 1.0)):  # noqa: S311  # jitter
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    continue
            self._ask_on()

    def _ask_on(self) -> None:
        assert self._daemon is not None
        pause = _Pause()
        while not self._stopped.is_set():
            known = self._guard.rules
            try:
                raw = self._daemon.rules_after(0 if known is None else known.version)
                if raw is not None:
                    self.take(raw)
                pause.reset()
                self._last_error = ""
            except (WireError, RulesError, OSError) as error:
                self._complain(f"no newer rules: {error}")
                self._stopped.wait(pause.next())

    def take(self, raw: bytes) -> None:
        """Rules that arrived: into force first, then to the other workers, then kept. No pause waits for what the disk
        still does with the rules before it."""
        document = open_envelope(raw)
        rules, known = parse(document), self._guard.rules
        if known is not None and rules.version <= known.version:
            raise RulesError("document.version", f"is {rules.version}, and {known.version} is in force")
        self._guard.put(rules)
        self._state.tell(document)
        with self._lock:
            self._to_keep = document
        self._arrived.set()

    def _keeping(self) -> None:
        while not self._stopped.is_set():
            if self._arrived.wait(FOLLOW_S):
                self.keep()

    def keep(self) -> None:
        """The newest document that arrived; those before it need no keeping any more."""
        self._arrived.clear()
        with self._lock:
            document, self._to_keep = self._to_keep, None
        if document is not None:
            try:
                self._state.keep(document)
            except OSError as error:
                self._complain(f"the rules cannot be kept on disk: {error}")

    def _reporting(self) -> None:
        pause = _Pause()
        while not self._stopped.wait(REPORT_S):
            try:
                while self.report():
                    pass
                pause.reset()
            except WireError as error:
                self._complain(f"refusals are not reported: {error}")
                self._stopped.wait(pause.next())

    def report(self) -> bool:
        """Send one batch, the same under the same name until it is taken. False: there was nothing to say."""
        assert self._daemon is not None
        reports, rules = self._guard.reports, self._guard.rules
        version = 0 if rules is None else rules.version
        if self._pending is None:
            lines, dropped = reports.take(), reports.dropped
            if not lines and not dropped and version == self._told_version:
                return False
            reports.dropped -= dropped
            self._pending = uuid4().hex, lines, dropped
        batch, lines, dropped = self._pending
        taken = self._daemon.report(
            {
                "apiVersion": API_VERSION,
                "batch": batch,
                "instance": self._instance,
                "guard_version": __version__,
                "rules_version": version,
                "rules_digest": "" if rules is None else rules.digest,
                "dropped": dropped,
                "reports": [as_document(line, tally) for line, tally in lines],
            }
        )
        if not taken:
            self._complain("the daemon refuses a batch of reports as malformed; it is dropped")
            reports.dropped += sum(tally.count for _, tally in lines) + dropped
        self._pending, self._told_version = None, version
        return taken

    def _complain(self, what: str) -> None:
        """Once, not at every turn."""
        if what != self._last_error:
            self._last_error = what
            log.warning("watchkeeper-guard: %s", what)


class _Pause:
    """Growing, with jitter: the workers of a fleet do not come back all at once."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._upto = BACK_OFF_S[0]

    def next(self) -> float:
        pause = random.uniform(self._upto / 2, self._upto)  # noqa: S311  # jitter
        self._upto = min(self._upto * 2, BACK_OFF_S[1])
        return pause


_NEVER: Stamp | None = (-1, -1, -1)
