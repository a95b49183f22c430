"""Envoy 1.40, the real proxy: two providers behind one route, their weights set by runtime keys; and a judge.

Targets: `route`, id `PREFIX` (the route's runtime_key_prefix), with a field for each cluster. The judge reads the admin
interface as a whole, and can send traffic and count where it arrives. That interface knows no credentials.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import yaml
from pydantic import JsonValue

from tests.testbed.aisystems.front import Front
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess
from tests.testbed.upstream import Upstream
from watchkeeper.core.model import Scalar

PREFIX = "routing.chat"
CLUSTERS = ("main", "standby")
BASE = {"main": 100, "standby": 0}
"""The weights of the configuration, in force where no runtime key is."""
READY_S = 20
_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


class Envoy:
    """`with Envoy(place, directory, main, standby) as envoy`: adapters are given `url`, callers `base_url`."""

    def __init__(self, place: Path, directory: Path, main: Upstream, standby: Upstream) -> None:
        self._upstreams = {"main": main, "standby": standby}
        admin, listener = free_port(), free_port()
        self.admin_url, self.base_url = f"http://{LOOPBACK}:{admin}", f"http://{LOOPBACK}:{listener}"
        config = directory / "envoy.yaml"
        config.write_text(yaml.safe_dump(_config(admin, listener, main.port, standby.port)))
        # several run side by side: each has a region of shared memory by its own number
        number = ["--base-id", str(secrets.randbelow(1 << 30))]
        command = [
            str(place / "venv/bin/envoy"),
            "-c",
            str(config),
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            *number,
        ]
        self._child = ChildProcess("envoy", command, log=directory / "envoy.log", env=os.environ, cwd=directory)
        self._front = Front(self.admin_url)
        self._client = httpx.Client(timeout=10, trust_env=False)

    def __enter__(self) -> Self:
        self._child.start()
        try:
            self._child.wait_for_http(f"{self.admin_url}/ready", timeout_s=READY_S)
        except BaseException:
            self._child.terminate()
            raise
        self._front.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._front.__exit__(kind, error, tb)
        self._client.close()
        self._child.terminate()

    @property
    def url(self) -> str:
        """The admin interface, behind the journal."""
        return self._front.url

    @property
    def journal(self) -> list[str]:
        return self._front.journal

    def restart(self) -> None:
        """Runtime keys set by the admin interface do not survive it."""
        self._child.terminate()
        self._child.start()
        self._child.wait_for_http(f"{self.admin_url}/ready", timeout_s=READY_S)

    def share(self, cluster: str, calls: int = 40) -> float:
        """What part of so many chats arrives at a cluster, by the providers' own journals."""
        before = {name: len(one.requests) for name, one in self._upstreams.items()}
        body: JsonValue = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        for _ in range(calls):
            self._client.post(f"{self.base_url}/v1/chat/completions", json=body).raise_for_status()
        arrived = {name: len(one.requests) - before[name] for name, one in self._upstreams.items()}
        assert sum(arrived.values()) == calls
        return arrived[cluster] / calls

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """The runtime key of each cluster, None where it is not set. Another route is a LookupError."""
        _known(kind, id_)
        found = self._client.get(f"{self.admin_url}/runtime?format=json").raise_for_status().json()["entries"]
        values = {name: found.get(f"{PREFIX}.{name}", {}).get("final_value") for name in CLUSTERS}
        return {name: None if value is None else int(value) for name, value in values.items()}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """None takes a key away."""
        _known(kind, id_)
        form = {f"{PREFIX}.{name}": "" if value is None else str(value) for name, value in values.items()}
        self._client.post(f"{self.admin_url}/runtime_modify", data=form).raise_for_status()

    def effects(self) -> int:
        return len(self.journal)


def _known(kind: str, id_: str) -> None:
    assert kind == "route"
    if id_ != PREFIX:
        raise LookupError(id_)


def _config(admin: int, listener: int, main: int, standby: int) -> JsonValue:
    weighted: JsonValue = {
        "runtime_key_prefix": PREFIX,
        "clusters": [{"name": name, "weight": BASE[name]} for name in CLUSTERS],
    }
    routes: JsonValue = [{"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}}]
    manager: JsonValue = {
        "@type": _HCM,
        "stat_prefix": "chat",
        "route_config": {"name": "chat", "virtual_hosts": [{"name": "chat", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    network = "envoy.filters.network.http_connection_manager"
    chain: JsonValue = {"filters": [{"name": network, "typed_config": manager}]}
    return {
        "admin": {"address": _address(admin)},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "listeners": [{"name": "chat", "address": _address(listener), "filter_chains": [chain]}],
            "clusters": [_cluster(name, port) for name, port in zip(CLUSTERS, (main, standby), strict=True)],
        },
    }


def _cluster(name: str, port: int) -> JsonValue:
    endpoints: JsonValue = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    assignment: JsonValue = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "connect_timeout": "1s", "type": "STATIC", "load_assignment": assignment}


def _address(port: int) -> JsonValue:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
