"""The running proxy, with a database (everything can be changed by API) or from YAML alone (nothing can).

Readiness is polled, never slept for. Unless told otherwise the proxy runs with one worker, and without Redis: what
several workers do to limits and cool-downs is NOT shown by tests on it.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import yaml
from pydantic import JsonValue

from tests.testbed.litellm.admin import Admin
from tests.testbed.litellm.install import Installation
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess, ProcessDied

BATCH_WRITE_S = 2
"""How long the proxy gathers spend before it writes it (its own default is 60)."""

_READY_WITHIN_S = 240
_MIGRATE_WITHIN_S = 120

YamlModel = dict[str, JsonValue]


def yaml_model(group: str, deployment: str, api_base: str, **parameters: JsonValue) -> YamlModel:
    """One entry of the YAML's model_list: a deployment that the API cannot change."""
    return {
        "model_name": group,
        "litellm_params": {"model": f"openai/{group}", "api_base": api_base, "api_key": "sk-upstream", **parameters},
        "model_info": {"id": deployment},
    }


class LiteLLM:
    """`with LiteLLM(build(), directory=tmp_path, database=dsn) as gateway: gateway.admin.add_deployment(...)`.

    Without `database` the models come from `models` alone; `callbacks` are loaded beside Prometheus'. start() and
    stop() may be called again: the port, the admin key and the database stay.
    """

    def __init__(
        self,
        installation: Installation,
        *,
        directory: Path,
        database: str | None = None,
        models: Sequence[YamlModel] = (),
        port: int | None = None,
        callbacks: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        self.admin_key = f"sk-{secrets.token_hex(16)}"
        self.port = port or free_port()
        self.base_url = f"http://{LOOPBACK}:{self.port}"
        self.log = directory / "litellm.log"
        self._installation = installation
        self._database = database
        self._callbacks, self._extra = callbacks, environment or {}
        self.config = directory / "litellm.yaml"
        self.config.write_text(yaml.safe_dump(self._settings(models)))
        command = [str(part) for part in (installation.command, "--config", self.config)]
        command += ["--host", LOOPBACK, "--port", str(self.port)]
        if workers > 1:
            # a worker that takes longer to start than this is killed by its parent, again and again
            command += ["--num_workers", str(workers), "--timeout_worker_healthcheck", str(_READY_WITHIN_S)]
        self._child = ChildProcess("litellm", command, log=self.log, env=self._environment(directory), cwd=directory)
        self.admin = Admin(self.base_url, self.admin_key)
        if database is not None:
            self._migrate(database)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.admin.close()
        self.stop()

    def start(self) -> None:
        """Start the proxy and wait until it serves. It ends by itself when its query engine was slow to listen: then it
        is started once more, as whoever runs it would."""
        try:
            self._start()
        except ProcessDied:
            self._start()

    def _start(self) -> None:
        self._child.start()
        expected = "Not connected" if self._database is None else "connected"

        def accept(reply: httpx.Response) -> bool:
            return reply.is_success and reply.json().get("db") == expected

        try:
            self._child.wait_for_http(f"{self.base_url}/health/readiness", timeout_s=_READY_WITHIN_S, accept=accept)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it and its query engine."""
        self._child.terminate()

    def kill9(self) -> None:
        """Let it crash."""
        self._child.kill9()

    def _settings(self, models: Sequence[YamlModel]) -> Mapping[str, JsonValue]:
        general: dict[str, JsonValue] = {"master_key": self.admin_key}
        if self._database is not None:
            general |= {"proxy_batch_write_at": BATCH_WRITE_S, "store_model_in_db": True}
        return {
            "model_list": list(models),
            "litellm_settings": {
                "callbacks": ["prometheus", *self._callbacks],
                "require_auth_for_metrics_endpoint": False,
                "telemetry": False,
            },
            # A retry would hide the upstream's failure from the one who counts it.
            "router_settings": {"num_retries": 0},
            "general_settings": general,
        }

    def _environment(self, directory: Path) -> Mapping[str, str]:
        """Nothing of the caller's environment but PATH: no proxies, no real provider keys."""
        environment = {
            **self._installation.environment,
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            **self._extra,
        }
        if self._database is None:
            return environment
        return {
            **environment,
            "DATABASE_URL": self._database,
            "DISABLE_SCHEMA_UPDATE": "true",
            "STORE_MODEL_IN_DB": "True",
            "LITELLM_SALT_KEY": "sk-salt-of-the-testbed",
        }

    def _migrate(self, database: str) -> None:
        """Make the proxy's tables. By psql: some statements refuse to share a transaction."""
        script = "\n".join(path.read_text() for path in self._installation.migrations)
        done = subprocess.run(
            ["psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", database],
            input=script,
            capture_output=True,
            text=True,
            timeout=_MIGRATE_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"the proxy's migrations failed:\n{done.stderr}"
