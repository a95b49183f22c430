"""The settings that a command was given: a file, and the environment over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchkeeper.daemon.settings import Settings


def settings_of(path: Path | None) -> Settings:
    """Raises ConfigError naming file:line or the variable."""
    from watchkeeper.daemon.settings import load

    return load(path, os.environ)
