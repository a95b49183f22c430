"""Settings: one YAML file, overridden by `WATCHKEEPER_*` variables; typed, closed, frozen after start.

`WATCHKEEPER_API__PORT=9000` sets `api.port`; `WATCHKEEPER_GATEWAYS__0__ADMIN_KEY` the first gateway's key. Every secret
may be given as `NAME_file` instead. The digest of the settings, secrets left out, goes into the ledger at each start.
It asks nobody: whether an address answers and a secret fits is `config check --connect`'s question.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import httpx
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from watchkeeper.agents.crew import Timing
from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.agents.manifest import MODULES
from watchkeeper.agents.outbox import WebhookConfig
from watchkeeper.core import yamldoc
from watchkeeper.core.agents import AgentBudget
from watchkeeper.core.digest import digest_of
from watchkeeper.core.errors import ConfigError, suggest
from watchkeeper.core.model import Contract
from watchkeeper.core.objectives import Objective
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.core.topology import ServiceEntry, Topology
from watchkeeper.daemon import secretfiles, variables
from watchkeeper.daemon.databasesettings import DatabaseSettings
from watchkeeper.daemon.ledgersettings import LedgerSettings
from watchkeeper.daemon.targets import TargetSettings
from watchkeeper.daemon.unique import once
from watchkeeper.policies.rollout.terms import RolloutTerms
from watchkeeper.runbooks.loader import RunbookOverrides
from watchkeeper.signals.alertmanager import AlertmanagerConfig
from watchkeeper.signals.prometheus import PrometheusConfig
from watchkeeper.signals.sources import SENDING
from watchkeeper.signals.state import StateConfig


def _key_hash(value: str) -> str:
    """Its text stays out of the error: it may be the key itself."""
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError("must be the hash of a gateway key, 64 hex digits in lower case; never the key itself")
    return value


KeyHash = Annotated[str, AfterValidator(_key_hash)]


class ServiceSettings(ServiceEntry):
    environment: str = ""
    """The `environment` of the whole installation where it is not given."""
    keys: tuple[KeyHash, ...] = ()
    """Hashes of gateway keys (LiteLLM: the SHA-256 of the key, as it shows it), each in one service."""


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
    def _can_be_called(cls, value: str) -> str:
        return _address(value).rstrip("/")

    @field_validator("fallbacks")
    @classmethod
    def _no_group_stands_in_for_itself(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        circles = sorted(group for group, others in value.items() if group in others)
        if circles:
            raise ValueError(f"{', '.join(circles)} cannot be a fallback for itself")
        return value


class PolicySettings(Contract):
    """`pack` is a shipped pack; `dir` a folder of documents. Both empty: the baseline pack, which is shadow."""

    pack: str = "baseline"
    dir: Path | None = None


class RunbookSettings(Contract):
    dirs: tuple[Path, ...] = ()
    shipped: bool = True
    overrides: dict[str, RunbookOverrides] = Field(default_factory=dict)


class LogSettings(Contract):
    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    json_lines: bool = True


class Settings(Contract):
    data_dir: Path = Path("var")
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    environment: str = "production"
    services: tuple[ServiceSettings, ...] = ()
    gateways: tuple[GatewaySettings, ...] = ()
    targets: TargetSettings = TargetSettings()
    prometheus: tuple[PrometheusConfig, ...] = ()
    alertmanager: AlertmanagerConfig = AlertmanagerConfig()
    policy: PolicySettings = PolicySettings()
    runbooks: RunbookSettings = RunbookSettings()
    objectives: Annotated[tuple[Objective, ...], Field(max_length=50)] = ()
    """Service level objectives, whose error budgets policy documents may ask for."""
    state: StateConfig = StateConfig()
    detectors: DetectorConfig = DetectorConfig()
    agents: dict[str, AgentBudget] = Field(default_factory=dict)
    """The budget of a specialist, by its name; the others have the default one."""
    rollout: RolloutTerms = RolloutTerms()
    """What each phase of a service's rollout asks before a person may move the service into it."""
    detect_every_s: float = Field(default=2.0, gt=0)
    timing: Timing = Timing()
    inbox_capacity: int = Field(default=500_000, ge=1000)
    notify: tuple[WebhookConfig, ...] = ()
    protected: tuple[str, ...] = ()
    """Targets (text form, `adapter/kind/id`, or a prefix ending in *) that no policy can open."""
    ledger: LedgerSettings = LedgerSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _the_failure_series_is_a_query(self) -> Self:
        wanted = self.detectors.provider_outage.failure_series
        kinds = (SubjectKind.DEPLOYMENT, SubjectKind.PROVIDER)
        queries = [query for source in self.prometheus for query in source.queries]
        if wanted and not any(each.name == wanted and each.subject_kind in kinds for each in queries):
            raise ValueError(f"detectors: failure_series: no prometheus query {wanted!r} of deployments or providers")
        return self

    @model_validator(mode="after")
    def _series_can_be_told_apart(self) -> Self:
        once("prometheus: the query", (query.name for source in self.prometheus for query in source.queries))
        return self

    @model_validator(mode="after")
    def _sources_can_be_told_apart(self) -> Self:
        names = [*SENDING, *(each.name for each in self.gateways), *(each.name for each in self.prometheus)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"gateways and prometheus: the name {', '.join(twice)} is given twice, or is our own")
        return self

    @field_validator("prometheus")
    @classmethod
    def _each_can_be_called(cls, value: tuple[PrometheusConfig, ...]) -> tuple[PrometheusConfig, ...]:
        for each in value:
            _address(each.base_url, f"{each.name}: base_url: ")
        return value

    @model_validator(mode="after")
    def _objectives_can_be_counted(self) -> Self:
        once("objectives: the name", (f"{each.scope}/{each.name}" for each in self.objectives))
        services = {str(each.scope) for each in self.services}
        of_services = {
            query.name: query.subject_id
            for source in self.prometheus
            for query in source.queries
            if query.subject_kind is SubjectKind.SERVICE
        }
        for each in self.objectives:
            scope = str(each.scope)
            if scope not in services:
                raise ValueError(f"objectives: {each.name}: no service {scope}{suggest(scope, services)}")
            for series in (each.bad_series, each.total_series):
                if series and of_services.get(series) not in ("", each.service):
                    raise ValueError(f"objectives: {each.name}: no prometheus query {series!r} of this service")
        return self

    @model_validator(mode="before")
    @classmethod
    def _all_inherit_the_environment(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("environment"), str | None):
            return data
        own = {"environment": data.get("environment") or cls.model_fields["environment"].default}
        lists = {name: data[name] for name in ("objectives", "services") if isinstance(data.get(name), list)}
        return data | {
            name: [own | each if isinstance(each, dict) else each for each in given] for name, given in lists.items()
        }

    @field_validator("agents")
    @classmethod
    def _budgets_are_of_agents_that_there_are(cls, value: dict[str, AgentBudget]) -> dict[str, AgentBudget]:
        unknown = sorted(value.keys() - MODULES.keys())
        if unknown:
            raise ValueError(f"there is no agent {unknown[0]!r}{suggest(unknown[0], MODULES)}")
        return value

    @field_validator("notify")
    @classmethod
    def _sinks_can_be_told_apart(cls, sinks: tuple[WebhookConfig, ...]) -> tuple[WebhookConfig, ...]:
        names = [sink.name for sink in sinks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name {', '.join(twice)} is given twice: only one of them would be told")
        return sinks

    @field_validator("services")
    @classmethod
    def _each_service_and_key_is_given_once(cls, value: tuple[ServiceSettings, ...]) -> tuple[ServiceSettings, ...]:
        once("service", (str(each.scope) for each in value))
        once("key", (key for each in value for key in each.keys))
        return value

    def topology(self) -> Topology:
        return Topology(services=self.services, default_environment=self.environment)

    def series(self) -> frozenset[str]:
        """What a runbook's level may name as `series:NAME`."""
        return frozenset(query.name for source in self.prometheus for query in source.queries)

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


def _address(text: str, whose: str = "") -> str:
    try:
        httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise ValueError(f"{whose}not a URL: look at its port and its host name") from None
    return text


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Reads the file, then the environment. Raises ConfigError naming file:line or the variable."""
    name = "(no file)" if path is None else str(path)
    document = yamldoc.parse_one("" if path is None else _text(path), name, ConfigError)
    secretfiles.one_spelling(document.data, Settings, document.place)
    origins: dict[yamldoc.Path, str] = {}
    for variable, (where, value) in variables.given(environ, Settings).items():
        other = secretfiles.other_spelling(where, Settings)
        if other is not None and other in origins:
            raise secretfiles.both(f"{origins[other]} and {variable}", str(where[-1]))
        variables.put(document.data, where, value, variable)
        if other is not None:
            secretfiles.drop(document.data, other)
        origins[where] = variable

    def place(where: yamldoc.Path) -> str:
        """A variable that set the value or, where the file has none, one that reached into it."""
        above = (origin for at, origin in origins.items() if where[: len(at)] == at)
        below = (origin for at, origin in origins.items() if at[: len(where)] == where and where not in document.lines)
        return next(above, None) or next(below, None) or document.place(where)

    secretfiles.read(document.data, Settings, place)
    return yamldoc.validate_data(document.data, Settings, place, ConfigError)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"cannot read the settings: {why}",
            place=str(path),
            cause="the path is wrong, not readable by this user, or another kind of file",
            next_step="watchkeeper config check --config PATH",
        ) from error
