"""How the guard is set up: by environment variables, since it lives in somebody else's process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from watchkeeper_guard.rules import Doubt

PREFIX = "WATCHKEEPER_GUARD_"
NAMES = ("URL", "TOKEN", "TOKEN_FILE", "CA_FILE", "STATE_DIR", "ON_START", "ENVIRONMENT")


class SettingsError(ValueError):
    """A variable that says something impossible, or one that is not known."""


@dataclass(frozen=True)
class Settings:
    """`url` empty: nobody sends rules, and those in the state directory stand."""

    state_dir: Path
    url: str = ""
    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    on_start: Doubt = Doubt.OPEN
    environment: str = ""


def from_environment(variables: Mapping[str, str] | None = None) -> Settings:
    """Raises SettingsError: a guard that is set up wrongly must not look as if it guarded."""
    given = os.environ if variables is None else variables
    unknown = sorted(name for name in given if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in NAMES)
    if unknown:
        raise SettingsError(f"{unknown[0]} is not known here; known are {', '.join(PREFIX + name for name in NAMES)}")
    found = {name: given.get(PREFIX + name, "").strip() for name in NAMES}
    url = found["URL"].rstrip("/")
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise SettingsError(f"{PREFIX}URL must be an http or https URL")
    try:
        on_start = Doubt(found["ON_START"] or Doubt.OPEN)
    except ValueError:
        raise SettingsError(f"{PREFIX}ON_START must be open or closed") from None
    return Settings(
        state_dir=Path(found["STATE_DIR"]) if found["STATE_DIR"] else _default_state_dir(given),
        url=url,
        token=_token(found["TOKEN"], found["TOKEN_FILE"]),
        ca_file=Path(found["CA_FILE"]) if found["CA_FILE"] else None,
        on_start=on_start,
        environment=found["ENVIRONMENT"],
    )


def _token(token: str, file: str) -> str:
    if not file:
        return token
    if token:
        raise SettingsError(f"both {PREFIX}TOKEN and {PREFIX}TOKEN_FILE are set")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{PREFIX}TOKEN_FILE: {error.strerror}") from None


def _default_state_dir(variables: Mapping[str, str]) -> Path:
    base = variables.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "watchkeeper-guard"
