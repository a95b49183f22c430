"""Settings: one YAML file, overridden by `WATCHKEEPER_*` variables; typed, closed, frozen after start.

`WATCHKEEPER_API__PORT=9000` sets `api.port`; `WATCHKEEPER_GATEWAYS__0__ADMIN_KEY` the first gateway's key. Every secret
may be given as `NAME_file` instead. The digest of the settings, secrets left out, goes into the ledger at each start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import Field, JsonValue, SecretStr, field_validator

from watchkeeper.agents.crew import Timing
from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.agents.outbox import WebhookConfig
from watchkeeper.core import yamldoc
from watchkeeper.core.digest import digest_of
from watchkeeper.core.errors import ConfigError
from watchkeeper.core.model import Contract
from watchkeeper.core.topology import ServiceEntry, Topology
from watchkeeper.runbooks.loader import RunbookOverrides
from watchkeeper.signals.alertmanager import AlertmanagerConfig
from watchkeeper.signals.prometheus import PrometheusConfig
from watchkeeper.signals.state import StateConfig

PREFIX = "WATCHKEEPER_"
SECRETS = ("admin_key", "url", "bearer")


class DatabaseSettings(Contract):
    """Empty: SQLite in the data directory."""

    url: SecretStr | None = None


class ApiSettings(Contract):
    host: str = "127.0.0.1"
    port: int = Field(default=8720, ge=0, le=65535)
    """0 takes a free port; `serve` prints it and writes it to `api.json` in the data directory."""


class GatewaySettings(Contract):
    """A LiteLLM gateway: polled for what happens, and, with `manage`, acted on under policy."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    base_url: str = Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")
    """Without user or password: it is shown in errors and logs."""
    admin_key: SecretStr
    poll_s: float = Field(default=5.0, gt=0)
    manage: bool = True
    fallbacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Model group → groups that may stand in for it; nothing else is ever offered as a fallback."""

    @field_validator("base_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")


class PolicySettings(Contract):
    """`pack` is a shipped pack; `dir` a folder of documents. Both empty: the baseline pack, which is shadow."""

    pack: str = "baseline"
    dir: Path | None = None


class RunbookSettings(Contract):
    dirs: tuple[Path, ...] = ()
    shipped: bool = True
    overrides: dict[str, RunbookOverrides] = Field(default_factory=dict)


class LedgerSettings(Contract):
    origin: str = Field(default="watchkeeper.local/log", pattern=r"^[^\s+]+$")
    """The log's name in checkpoints: unique to this installation, no spaces, no plus sign."""
    signing_key_path: Path | None = None
    """Made in the data directory at the first start when not given."""


class LogSettings(Contract):
    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    json_lines: bool = True


class Settings(Contract):
    data_dir: Path = Path("var")
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    environment: str = "production"
    services: tuple[ServiceEntry, ...] = ()
    gateways: tuple[GatewaySettings, ...] = ()
    prometheus: tuple[PrometheusConfig, ...] = ()
    alertmanager: AlertmanagerConfig = AlertmanagerConfig()
    policy: PolicySettings = PolicySettings()
    runbooks: RunbookSettings = RunbookSettings()
    state: StateConfig = StateConfig()
    detectors: DetectorConfig = DetectorConfig()
    detect_every_s: float = Field(default=2.0, gt=0)
    timing: Timing = Timing()
    inbox_capacity: int = Field(default=500_000, ge=1000)
    notify: tuple[WebhookConfig, ...] = ()
    protected: tuple[str, ...] = ()
    """Targets (text form, `adapter/kind/id`, or a prefix ending in *) that no policy can open."""
    ledger: LedgerSettings = LedgerSettings()
    log: LogSettings = LogSettings()

    def topology(self) -> Topology:
        return Topology(services=self.services, default_environment=self.environment)

    def is_protected(self, target: str) -> bool:
        """Whether a target is one that no policy can open."""
        return any(target.startswith(each[:-1]) if each.endswith("*") else target == each for each in self.protected)

    def database_url(self) -> str:
        if self.database.url is not None:
            return self.database.url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'watchkeeper.db'}"

    def digest(self) -> str:
        """Secrets are masked by their type, so the digest says nothing about them."""
        return digest_of(self)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Reads the file, then the environment. Raises ConfigError naming file:line or the variable."""
    text, name = "", "(no file)"
    if path is not None:
        name = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot read the settings: {error.strerror}",
                place=name,
                cause="the path is wrong or not readable by this user",
                next_step="watchkeeper config check --config PATH",
            ) from error
    document = yamldoc.parse_one(text, name, ConfigError)
    variables = _variables(environ)
    origins: dict[yamldoc.Path, str] = {}
    for variable, value in variables.items():
        where = tuple(int(part) if part.isdigit() else part for part in variable.lower().split("__"))
        _set(document.data, where, value, PREFIX + variable)
        origins[where] = PREFIX + variable

    def place(where: yamldoc.Path) -> str:
        """A variable that set the value or, where the file has none, one that reached into it."""
        above = (origin for at, origin in origins.items() if where[: len(at)] == at)
        below = (origin for at, origin in origins.items() if at[: len(where)] == where and where not in document.lines)
        return next(above, None) or next(below, None) or document.place(where)

    _read_secret_files(document.data, (), place)
    return yamldoc.validate_data(document.data, Settings, place, ConfigError)


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours, without the two that are not settings."""
    own = {key[len(PREFIX) :]: value for key, value in environ.items() if key.startswith(PREFIX)}
    return {
        key: value for key, value in sorted(own.items()) if key not in ("CONFIG", "TOKEN", "API_URL", "REQUIRE_PEERS")
    }


def _set(data: JsonValue, where: yamldoc.Path, value: str, variable: str) -> None:
    """Sets one value, making mappings on the way; a list is only entered, or grown by its next index."""
    at = data
    for position, part in enumerate(where):
        last = position == len(where) - 1
        if isinstance(at, list) and isinstance(part, int) and part <= len(at):
            if part == len(at):
                at.append({})
            if last:
                at[part] = value
            else:
                at = at[part]
        elif isinstance(at, dict) and isinstance(part, str):
            if last:
                at[part] = value
            else:
                following = where[position + 1]
                at = at.setdefault(part, [] if isinstance(following, int) else {})
        else:
            raise ConfigError(
                "does not fit the settings",
                place=variable,
                cause="it goes into a value that is not a mapping, or skips an index of a list",
                next_step="watchkeeper config show",
            )


def _read_secret_files(data: JsonValue, path: yamldoc.Path, place: Callable[[yamldoc.Path], str]) -> None:
    """Replaces `admin_key_file: PATH` by `admin_key: CONTENT`, everywhere."""
    if isinstance(data, list):
        for index, item in enumerate(data):
            _read_secret_files(item, (*path, index), place)
        return
    if not isinstance(data, dict):
        return
    for name in [n for n in data if n.endswith("_file") and n.removesuffix("_file") in SECRETS]:
        value = data.pop(name)
        try:
            data[name.removesuffix("_file")] = Path(str(value)).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"cannot read the secret file {value}: {error.strerror}",
                place=place((*path, name)),
                cause="the file is missing or not readable by this user",
                next_step="watchkeeper config check",
            ) from error
    for name, item in data.items():
        _read_secret_files(item, (*path, name), place)
