"""What `config check` looks at beyond the settings' own form: files, documents, and, when asked, who answers.

Every check gives one result and stops no other. It changes nothing and sends nothing but one harmless read each.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import httpx

from watchkeeper.cli.offers import offers
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.errors import ConfigError, StoreError, UnavailableError, WatchkeeperError
from watchkeeper.daemon import signing
from watchkeeper.daemon.database import standing
from watchkeeper.daemon.settings import ApiSettings, GatewaySettings, Settings
from watchkeeper.ledger.archive.places import storage_of
from watchkeeper.ledger.archive.storage import Storage
from watchkeeper.policies import load as policy_files
from watchkeeper.policies.compile import compile_policy
from watchkeeper.runbooks.loader import load_catalog
from watchkeeper.signals.prometheus import PrometheusConfig, PrometheusPoller
from watchkeeper.store import schema
from watchkeeper.store.engine import Store
from watchkeeper.store.roles import Part, Standing

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Check:
    """`error` is set when it failed; `detail` says what was found, `warning` what is allowed and hardly meant."""

    name: str
    detail: str = ""
    error: WatchkeeperError | None = None
    warning: str = ""

    @property
    def state(self) -> Literal["ok", "warning", "failed"]:
        if self.error is not None:
            return "failed"
        return "warning" if self.warning else "ok"


def offline(settings: Settings) -> Iterator[Check]:
    """What can be told without asking anybody."""
    yield _checked("policy", lambda: _policy(settings))
    yield _checked("runbooks", lambda: _runbooks(settings))
    yield _checked("data directory", lambda: _writable(settings.data_dir))
    yield _listens(settings.api)
    if settings.protected:
        yield _protects(settings)
    if settings.ledger.witnesses or settings.ledger.policy_file is not None:
        yield _checked("witnesses", lambda: _witnesses(settings))
    if settings.ledger.signing_key is not None or settings.ledger.signing_key_path is not None:
        yield _checked("signing key", lambda: _signing_key(settings))


def connecting(settings: Settings) -> Iterator[Check]:
    """Who answers: the database, each gateway and each Prometheus."""
    yield _checked("database", lambda: asyncio.run(_database(settings)))
    yield from _roles(settings)
    for gateway in settings.gateways:
        yield _checked(f"gateway {gateway.name}", partial(_gateway, gateway))
    if settings.ledger.archive is not None:
        storage = storage_of(settings.ledger.archive)
        yield _checked("archive", lambda: _archive(storage))
    for source in settings.prometheus:
        yield _checked(f"prometheus {source.name}", partial(_prometheus, source))


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, look())
    except WatchkeeperError as error:
        return Check(name, error=error)


def _policy(settings: Settings) -> str:
    given = settings.policy
    documents = policy_files.pack(given.pack) if given.dir is None else policy_files.load(given.dir)
    policy = compile_policy(documents)
    grants = sum(node.grants for node in policy.nodes)
    return f"{grants} Grant(s), {len(policy.nodes) - grants} Limit(s), version {policy.version[:19]}"


def _runbooks(settings: Settings) -> str:
    given = settings.runbooks
    catalog = load_catalog(
        given.dirs, shipped=given.shipped, overrides=given.overrides, offers=offers(), series=settings.series()
    )
    return ", ".join(runbook.name for runbook in catalog.runbooks) or "none"


def _witnesses(settings: Settings) -> str:
    """A policy that the configured witnesses could never fulfil is mistyped."""
    policy, asked = settings.ledger.policy(), {each.vkey for each in settings.ledger.witnesses}
    if policy is None:
        return f"{len(asked)} witness(es), no policy"
    if not policy.holds({each.name for each in policy.witnesses if each.key.vkey in asked}):
        unasked = ", ".join(each.name for each in policy.witnesses if each.key.vkey not in asked)
        raise ConfigError(
            "the witnesses that are asked can never be the quorum",
            place="ledger.policy_file",
            cause=f"the policy counts on others: {unasked}",
            next_step="add them to ledger.witnesses, by the same vkey",
        )
    return f"{len(asked)} witness(es), quorum {policy.quorum or 'none'}"


def _signing_key(settings: Settings) -> str:
    keys = signing.given(settings.ledger)
    assert keys is not None, "the settings were asked before"
    before = "" if keys.previous is None else f", handed over from key {keys.previous.verifier.key_id.hex()}"
    return keys.current.verifier.vkey + before


def _writable(directory: Path) -> str:
    """The directory, or the nearest ancestor in which it can be made."""
    at = directory.absolute()
    while not at.exists():
        at = at.parent
    if not at.is_dir() or not os.access(at, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{directory} cannot be written",
            place="data_dir",
            cause=f"{at} is not a directory of this user",
            next_step="choose another data_dir, or change the owner of that directory",
        )
    return str(directory)


def _listens(api: ApiSettings) -> Check:
    where = f"{api.host}:{api.port}"
    if api.host == "localhost" or (_is_address(api.host) and ipaddress.ip_address(api.host).is_loopback):
        return Check("api", where)
    text = f"{where} can be reached from other machines, in plain HTTP: put a proxy with TLS in front of it"
    return Check("api", where, warning=text)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _protects(settings: Settings) -> Check:
    """A target that no configured adapter could ever name is not protected, it is mistyped."""
    adapters = [f"litellm:{gateway.name}" for gateway in settings.gateways if gateway.manage]
    kinds = sorted({offer.target_kind for offer in offers()})
    beginnings = [f"{adapter}/{kind}/" for adapter in adapters for kind in kinds]
    idle = [each for each in settings.protected if not any(_could_be(each, start) for start in beginnings)]
    if not idle:
        return Check("protected", f"{len(settings.protected)} target(s)")
    text = f"{', '.join(idle)}: no target begins so; they are ADAPTER/KIND/ID, such as "
    text += beginnings[0] + "..." if beginnings else "litellm:NAME/key/..., and no gateway is managed"
    return Check("protected", warning=text)


def _could_be(protected: str, beginning: str) -> bool:
    if protected.endswith("*"):
        prefix = protected[:-1]
        return prefix.startswith(beginning) or beginning.startswith(prefix)
    return protected.startswith(beginning) and protected != beginning


async def _database(settings: Settings) -> str:
    if settings.database.url is None and not (settings.data_dir / "watchkeeper.db").exists():
        return "SQLite, made at the first start"
    store = Store(settings.database_url())
    try:
        found = await schema.current(store)
        if found is None:
            return "reachable, empty: the schema is made at the first start"
        await schema.check(store)
        return f"reachable, schema {found}"
    except OSError as error:
        raise StoreError(
            f"the database does not answer: {error.strerror or type(error).__name__}",
            place="database.url",
            cause="host, port or name is wrong, or it is down",
            next_step="watchkeeper config show",
        ) from error
    finally:
        await store.close()


def _roles(settings: Settings) -> Iterator[Check]:
    """What the server itself says that each role may, once there is a schema."""
    given = settings.database
    parts = ((Part.DAEMON, given.url), (Part.PRUNER, given.pruner_url))
    for part, url in parts:
        if url is not None and not Store(url.get_secret_value()).is_sqlite:
            try:
                yield asyncio.run(_role(part, url.get_secret_value(), apart=given.pruner_url is not None))
            except WatchkeeperError as error:
                yield Check(f"database role ({part})", error=error)


async def _role(part: Part, url: str, *, apart: bool) -> Check:
    name, store = f"database role ({part})", Store(url)
    try:
        if await schema.current(store) is None:
            return Check(name, "not asked: the schema is made at the first start")
        found = await standing(store, part)
    finally:
        await store.close()
    if found.owns and apart:
        return Check(name, error=_not_apart(part, found, found.owns))
    if found.owns:
        text = (
            f"{found.role} {found.owns}: triggers alone keep it from changing the ledger (config roles sets it apart)"
        )
        return Check(name, warning=text)
    if found.missing:
        return Check(name, error=_not_apart(part, found, f"lacks {_some(found.missing)}"))
    if found.too_wide:
        return Check(name, warning=f"{found.role} has more than it needs: {_some(found.too_wide)}")
    return Check(name, f"{found.role} owns nothing and may do what it needs, no more")


def _not_apart(part: Part, found: Standing, what: str) -> ConfigError:
    return ConfigError(
        f"the role {found.role} {what}",
        place=f"database.{part}",
        cause="the roles were not set apart, or the grants are of an earlier version",
        next_step="watchkeeper config migrate with database.owner_url; watchkeeper config roles prints the SQL",
    )


def _some(privileges: tuple[str, ...], most: int = 5) -> str:
    more = len(privileges) - most
    return ", ".join(privileges[:most]) + (f" and {more} more" if more > 0 else "")


def _gateway(gateway: GatewaySettings) -> str:
    """One read that needs the admin key."""
    headers = {"Authorization": f"Bearer {gateway.admin_key.get_secret_value()}"}
    try:
        reply = httpx.get(f"{gateway.base_url}/model/info", headers=headers, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"{gateway.base_url} does not answer ({type(error).__name__})",
            cause="it is down, or base_url is wrong",
            next_step="curl it from this machine",
        ) from error
    if reply.status_code in (401, 403):
        raise ConfigError(
            f"{gateway.base_url} refuses the admin key (HTTP {reply.status_code})",
            cause="admin_key is another gateway's, or was changed",
            next_step=f"give the gateway's master key as gateways[].admin_key_file of {gateway.name}",
        )
    if reply.is_error:
        raise UnavailableError(
            f"{gateway.base_url} answers HTTP {reply.status_code}",
            cause="it is not a LiteLLM gateway, or it is not well",
            next_step="curl it from this machine",
        )
    return "answers, and takes the admin key"


def _archive(storage: Storage) -> str:
    storage.prepare()
    return f"{storage.place} is there"


def _prometheus(source: PrometheusConfig) -> str:
    """One poll, as the daemon makes them, with nothing kept of it."""
    samples, unusable = asyncio.run(_polled(source))
    if unusable:
        raise ConfigError(
            unusable,
            place=f"prometheus {source.name}",
            cause="the query is mistyped, or its series are not labelled as the settings say",
            next_step="try the query in Prometheus's own console",
        )
    return f"answers, {len(source.queries)} queries give {samples} samples"


async def _polled(source: PrometheusConfig) -> tuple[int, str]:
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        poller = PrometheusPoller(source, client, SystemClock())
        return len(await poller.poll()), poller.unusable
