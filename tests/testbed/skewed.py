"""The command line under a wall clock that is off by the seconds in a file, which may change at any time.

`python -m tests.testbed.skewed FILE serve ...`. What Watchkeeper itself takes for the time is off; the monotonic clock
and what libraries read for themselves are not. (libfaketime would move those too, and breaks Python's own sleep.)
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

from watchkeeper.cli.main import app
from watchkeeper.core.clock import SystemClock


def skew(file: Path) -> None:
    true = SystemClock.now

    def now(self: SystemClock) -> datetime:
        return true(self) + timedelta(seconds=float(file.read_text() or 0))

    setattr(SystemClock, "now", now)  # noqa: B010  # a method is not for mypy to be assigned


if __name__ == "__main__":
    skew(Path(sys.argv.pop(1)))
    app()
