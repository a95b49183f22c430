"""Child processes of the testbed: own process group, own log, and nothing left behind.

A child is killed with its whole group when its `with` block ends, and by the kernel when the thread that started it
dies (Linux with setpriv). It is NOT restarted, and what it printed is only in the log file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

_LOG_TAIL = 4000
_POLL_S = 0.05


class ProcessDied(AssertionError):
    """The child ended, or did not become ready, where it should have run."""


class ChildProcess:
    """`with ChildProcess("name", argv, log=path) as child: child.wait_for_http(url)`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        death_signal: str = "KILL",
    ) -> None:
        self.name = name
        self.log = log
        self._argv = [*_guard(user, death_signal), *(os.fspath(part) for part in argv)]
        self._env = dict(os.environ if env is None else env)
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.terminate()

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it (again); the log grows."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill9(self) -> None:
        """SIGKILL to the whole group, as a crash of the machine would."""
        self.signal(signal.SIGKILL)
        self._reap(timeout_s=10)

    def terminate(self, *, with_signal: signal.Signals = signal.SIGTERM, grace_s: float = 15) -> int | None:
        """Ask the child to end, kill what is left of its group, and answer its exit status (None: never started)."""
        if self._process is None:
            return None
        self.signal(with_signal)
        with suppress(subprocess.TimeoutExpired):  # the group is killed next in either case
            self._process.wait(timeout=grace_s)
        self.signal(signal.SIGKILL)
        return self._reap(timeout_s=10)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the group; nothing happens if it is gone."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def log_tail(self) -> str:
        """The end of what it printed, for a failure message."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:] if self.log.exists() else ""

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Poll `ready` until it is true; fail at once, with the log, when the child ends."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                status = self._started().returncode
                raise ProcessDied(f"{self.name} ended with status {status} before {what}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ProcessDied(f"{self.name}: no {what} within {timeout_s:g} s:\n{self.log_tail()}")
            time.sleep(_POLL_S)

    def wait_for_http(
        self, url: str, *, timeout_s: float, accept: Callable[[httpx.Response], bool] = lambda reply: reply.is_success
    ) -> None:
        """Poll `url` until a reply is accepted."""
        with httpx.Client(timeout=2, trust_env=False) as client:

            def ready() -> bool:
                try:
                    return accept(client.get(url))
                except httpx.TransportError:
                    return False

            self.wait_until(ready, timeout_s=timeout_s, what=f"answer of {url}")

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    def _reap(self, *, timeout_s: float) -> int:
        return self._started().wait(timeout=timeout_s)


def _guard(user: str | None, death_signal: str) -> list[str]:
    """The command prefix that drops to `user` and ties the child's life to ours."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        assert user is None, "setpriv (util-linux) is needed to start a child as another user"
        return []
    identity = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return [setpriv, *identity, f"--pdeathsig={death_signal}", "--"]
