"""Debian's Prometheus and Alertmanager, started by hand on loopback with the configuration a test gives.

Data lives in the test's directory and scraping is quick (1 s), so nothing here says how they behave over days or in a
cluster: Alertmanager runs alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml
from pydantic import JsonValue

from tests.testbed.peers import require_peer
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess

_READY_WITHIN_S = 60


class _Server:
    """What both have in common: one binary, one file of configuration, one address, /-/ready."""

    def __init__(self, name: str, directory: Path, config: Mapping[str, JsonValue], flags: Sequence[str]) -> None:
        binary = shutil.which(name)
        require_peer(binary, f"{name}: apt-get install {name}")
        assert binary is not None
        directory.mkdir(parents=True, exist_ok=True)
        self.address = f"{LOOPBACK}:{free_port()}"
        self.url = f"http://{self.address}"
        self.config_file = directory / f"{name}.yaml"
        self.config_file.write_text(yaml.safe_dump(config))
        argv = [
            *(binary, f"--config.file={self.config_file}", f"--web.listen-address={self.address}"),
            *("--log.level=warn", *flags),
        ]
        self._child = ChildProcess(name, argv, log=directory / f"{name}.log", cwd=directory)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._child.start()
        try:
            self._child.wait_for_http(f"{self.url}/-/ready", timeout_s=_READY_WITHIN_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._child.terminate()


class Prometheus(_Server):
    """`with Prometheus(tmp_path, scrape={"lab": "127.0.0.1:9000"}) as prometheus: prometheus.query("up")`."""

    def __init__(
        self,
        directory: Path,
        *,
        scrape: Mapping[str, str],
        metrics_path: str = "/metrics",
        rules: Sequence[Mapping[str, JsonValue]] = (),
        alertmanager: str | None = None,
    ) -> None:
        """`scrape` maps a job to host:port; `rules` are alerting or recording rules, evaluated each second."""
        config: dict[str, JsonValue] = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {"job_name": job, "metrics_path": metrics_path, "static_configs": [{"targets": [target]}]}
                for job, target in scrape.items()
            ],
        }
        if rules:
            rule_file = directory / "rules.yaml"
            groups: JsonValue = [{"name": "testbed", "rules": [dict(rule) for rule in rules]}]
            directory.mkdir(parents=True, exist_ok=True)
            rule_file.write_text(yaml.safe_dump({"groups": groups}))
            config["rule_files"] = [str(rule_file)]
        if alertmanager is not None:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        super().__init__("prometheus", directory, config, [f"--storage.tsdb.path={directory / 'data'}"])

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        reply = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10, trust_env=False)
        assert reply.status_code == 200, reply.text
        result: list[dict[str, Any]] = reply.json()["data"]["result"]
        return result


class Alertmanager(_Server):
    """`with Alertmanager(tmp_path, webhook=receiver.url + "/alerts") as alertmanager: ...`."""

    def __init__(
        self, directory: Path, *, webhook: str, bearer: str | None = None, repeat_interval: str = "1h"
    ) -> None:
        """Everything goes to one webhook, grouped by alertname, after as little waiting as it allows."""
        hook: dict[str, JsonValue] = {"url": webhook, "send_resolved": True}
        if bearer is not None:
            hook["http_config"] = {"authorization": {"credentials": bearer}}
        config: dict[str, JsonValue] = {
            "route": {
                **{"receiver": "webhook", "group_by": ["alertname"]},
                **{"group_wait": "1s", "group_interval": "1s", "repeat_interval": repeat_interval},
            },
            "receivers": [{"name": "webhook", "webhook_configs": [hook]}],
        }
        flags = ["--cluster.listen-address=", f"--storage.path={directory / 'data'}"]
        super().__init__("prometheus-alertmanager", directory, config, flags)

    def failed_requests(self) -> float:
        """How many tries to notify have failed since it started."""
        page = httpx.get(f"{self.url}/metrics", timeout=10, trust_env=False).text
        name = 'alertmanager_notification_requests_failed_total{integration="webhook"}'
        return next(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))

    def post_alerts(self, *alerts: Mapping[str, JsonValue]) -> None:
        """Raise alerts as Prometheus would."""
        body = [dict(alert) for alert in alerts]
        reply = httpx.post(f"{self.url}/api/v2/alerts", json=body, timeout=10, trust_env=False)
        assert reply.status_code == 200, reply.text
