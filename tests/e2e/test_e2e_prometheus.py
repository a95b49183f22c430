"""The real Prometheus and Alertmanager beside a daemon that runs as users run it. What it took in is read from its
status, what it made of it from the incident's story."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import JsonValue
from tests.testbed import rig, worlds
from tests.testbed.polling import eventually
from tests.testbed.prometheus import Alertmanager, Prometheus
from tests.testbed.receiver import Receiver

from watchkeeper.cli.client import Client

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

SOON_S = 60.0
"""Everything here takes some seconds; a machine that does other work takes its time."""
SHADOW: dict[str, JsonValue] = {**rig.FAST, "policy": {"pack": "baseline"}}
PROMETHEUS_TOKEN = "a-token-that-only-prometheus-may-see"
STATE = "max by (model_id) (litellm_deployment_state)"
RATE = "sum by (model_id) (rate(litellm_deployment_total_requests_total[5s]))"
RULE: dict[str, JsonValue] = {
    "alert": "DeploymentFails",
    "expr": "upstream_failing > 0",
    "labels": {"severity": "page"},
}


@contextmanager
def shop(directory: Path) -> Iterator[tuple[worlds.Lab, rig.Address]]:
    """A gateway under traffic that is polled alone, and where its daemon will be."""
    at = rig.address(directory)
    with worlds.lab(directory, None, seed=11, batch_write_s=0.5) as world:
        yield world, at


@contextmanager
def alerted(directory: Path, at: rig.Address, token: str, **scraped: Any) -> Iterator[tuple[Prometheus, Alertmanager]]:
    """Prometheus with a rule, and Alertmanager that tells the daemon of it, again and again."""
    hook = f"{at.url}/v1/alerts/alertmanager"
    alerts = Alertmanager(directory / "alertmanager", webhook=hook, bearer=token, repeat_interval="1s")
    with alerts, Prometheus(directory / "prometheus", alertmanager=alerts.address, **scraped) as prometheus:
        yield prometheus, alerts


def failing(**deployments: int) -> str:
    """A page with the failures of each deployment, as an exporter would serve it."""
    lines = [f'upstream_failing{{deployment="{name.replace("_", "-")}"}} {n}' for name, n in deployments.items()]
    return "\n".join(["# TYPE upstream_failing gauge", *lines, ""])


def source(api: Client, name: str) -> dict[str, Any]:
    (found,) = [each for each in api.get("/v1/status")["sources"] if each["name"] == name]
    return dict(found)


def until(api: Client, name: str, enough: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Waits until the source's report is `enough`, and answers it."""
    return eventually(lambda: [each for each in [source(api, name)] if enough(each)], timeout_s=SOON_S)[0]


def sender_token(api: Client) -> str:
    made = api.post("/v1/tokens", {"principal": "alertmanager", "kind": "service", "roles": ["ingest"]})
    return str(made["token"])


def signs(api: Client) -> dict[str, float]:
    """The numbers behind the outage that the daemon finds, by sign."""

    def findings() -> list[dict[str, Any]]:
        found = [each["id"] for each in api.get("/v1/incidents", closed=True) if each["mode"] == "provider_outage"]
        steps = [step for name in found for step in api.get(f"/v1/incidents/{name}/story")]
        return [step["data"]["finding"] for step in steps if step["type"] == "dev.watchkeeper.finding.v1"]

    finding = eventually(findings, timeout_s=SOON_S)[0]
    assert finding["subject"] == {"kind": "deployment", "id": worlds.MAIN}
    return {each["sign"]: each["observed"] for each in finding["observations"]}


def status_text(at: rig.Address) -> str:
    """What `watchkeeper status` prints, on one line."""
    argv = [sys.executable, "-m", "watchkeeper.cli.main", "--data-dir", str(at.token_file.parent), "status"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCHKEEPER_")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return " ".join(done.stdout.split())


def test_e2e_a_sender_with_a_wrong_token_is_refused_and_counted(tmp_path: Path) -> None:
    with shop(tmp_path) as (world, at), rig.daemon(at, world.watched, SHADOW) as daemon:
        hook = f"{at.url}/v1/alerts/alertmanager"
        assert source(daemon.api, "alertmanager")["state"] == "waiting"
        with Alertmanager(tmp_path / "stranger", webhook=hook, bearer="wk_of-somebody-else") as stranger:
            stranger.post_alerts({"labels": {"alertname": "Forged", "deployment": worlds.MAIN}})
            refused = until(daemon.api, "alertmanager", lambda told: told["failures"])
            eventually(stranger.failed_requests, timeout_s=SOON_S)
        assert (refused["state"], refused["signals"]) == ("waiting", 0)
        assert refused["last_error"] == "this call carries no valid token"
        assert httpx.post(hook, content=b"{}", trust_env=False).status_code == 401


def test_e2e_an_alert_is_kept_once_and_survives_a_crash(tmp_path: Path) -> None:
    with shop(tmp_path) as (world, at), Receiver() as exporter:
        exporter.pages["/metrics"] = failing(dep_a=3)
        with rig.daemon(at, world.watched, SHADOW) as daemon:
            scraped = {"scrape": {"exporter": exporter.address}, "rules": [RULE]}
            with alerted(tmp_path, at, sender_token(daemon.api), **scraped):
                until(daemon.api, "alertmanager", lambda told: told["duplicates"] >= 2)
                assert source(daemon.api, "alertmanager")["signals"] == 1
            daemon.process.kill()
        with rig.daemon(at, world.watched, SHADOW) as daemon:
            world.break_provider(True)
            assert signs(daemon.api)["alert"] == 1
            assert source(daemon.api, "alertmanager")["signals"] == 0
            assert daemon.api.post("/v1/ledger/verify", {})["ok"]


def test_e2e_what_changed_while_the_daemon_was_dead_gets_through_once(tmp_path: Path) -> None:
    with shop(tmp_path) as (world, at), Receiver() as exporter, ExitStack() as peers:
        exporter.pages["/metrics"] = failing(dep_a=3, dep_b=0)
        with rig.daemon(at, world.watched, SHADOW) as daemon:
            scraped = {"scrape": {"exporter": exporter.address}, "rules": [RULE]}
            prometheus, alerts = peers.enter_context(alerted(tmp_path, at, sender_token(daemon.api), **scraped))
            until(daemon.api, "alertmanager", lambda told: told["signals"] == 1)
            daemon.process.kill()
        exporter.pages["/metrics"] = failing(dep_a=0, dep_b=3)
        eventually(lambda: firing(prometheus) == ["dep-b"], timeout_s=SOON_S)
        before = alerts.failed_requests()
        eventually(lambda: alerts.failed_requests() > before, timeout_s=SOON_S)
        with rig.daemon(at, world.watched, SHADOW) as daemon:
            until(daemon.api, "alertmanager", lambda told: told["signals"] == 2 and told["duplicates"] >= 2)
            world.break_provider(True)
            assert "alert" not in signs(daemon.api)
            assert source(daemon.api, "alertmanager")["signals"] == 2


def firing(prometheus: Prometheus) -> list[str]:
    return [each["metric"]["deployment"] for each in prometheus.query('ALERTS{alertstate="firing"}')]


def query(name: str, promql: str, **rest: JsonValue) -> dict[str, JsonValue]:
    return {"name": name, "promql": promql, "subject_kind": "deployment", "subject_label": "model_id", **rest}


def polled(name: str, prometheus: Prometheus, *queries: JsonValue) -> JsonValue:
    """A source of the daemon's settings."""
    at: dict[str, JsonValue] = {"base_url": prometheus.url, "bearer": PROMETHEUS_TOKEN, "interval_s": 0.5}
    return {"name": name, **at, "queries": list(queries)}


def test_e2e_prometheus_is_polled_its_loss_is_told_and_it_comes_back(tmp_path: Path) -> None:
    with shop(tmp_path) as (world, at):
        gateway = world.watched.base_url.removeprefix("http://")
        with Prometheus(tmp_path / "prometheus", scrape={"litellm": gateway}, metrics_path="/metrics/") as prometheus:
            past = query("requests", RATE, range_s=20, step_s=1)
            sources = [
                polled("now", prometheus, query("state", STATE)),
                polled("past", prometheus, past),
                polled("half", prometheus, query("state_again", STATE), query("mistyped", "max by (")),
            ]
            with rig.daemon(at, world.watched, {**SHADOW, "prometheus": sources}) as daemon:
                delivers(daemon.api)
                lost = loses(daemon.api, at, prometheus)
                finds_again(daemon.api, prometheus, lost)
                text = status_text(at)
        assert "source now ok" in text
        assert PROMETHEUS_TOKEN not in text + (at.directory / "daemon.log").read_text()


def delivers(api: Client) -> None:
    until(api, "now", lambda told: told["state"] == "ok" and told["signals"] >= 5)
    until(api, "past", lambda told: told["state"] == "ok" and told["signals"] >= 5)
    until(api, "past", lambda told: told["duplicates"] >= 5)  # what two ranges have in common counts once
    half = until(api, "half", lambda told: told["signals"])
    assert (half["state"], half["failures"]) == ("partial", 0)
    assert half["last_error"] == "queries.mistyped: the query was refused by Prometheus"


def loses(api: Client, at: rig.Address, prometheus: Prometheus) -> dict[str, Any]:
    """Prometheus ends; the source says so, and everything else goes on."""
    prometheus.stop()
    lost = until(api, "now", lambda told: told["state"] == "failing")
    assert "it could not be asked" in lost["last_error"]
    assert "source now failing" in status_text(at)
    assert httpx.get(f"{at.url}/readyz", trust_env=False).json()["sources"]["now"] == "failing"
    gateway = until(api, "gateway", lambda told: told["last_ok"])
    until(api, "gateway", lambda told: told["last_ok"] > gateway["last_ok"])
    return lost


def finds_again(api: Client, prometheus: Prometheus, lost: dict[str, Any]) -> None:
    prometheus.start()
    found = until(api, "now", lambda told: told["state"] == "ok" and told["signals"] > lost["signals"])
    assert found["failures"] >= 1
    assert found["last_ok"] > found["last_failure"]
    until(api, "past", lambda told: told["state"] == "ok")


def test_e2e_series_and_alerts_about_the_gateway_are_part_of_the_finding(tmp_path: Path) -> None:
    """LiteLLM's metrics go through Prometheus; what a rule makes of them comes by Alertmanager."""
    with shop(tmp_path) as (world, at), ExitStack() as peers:
        gateway = world.watched.base_url
        rule: dict[str, JsonValue] = {"alert": "LiteLLMDeploymentFails", "expr": f"{STATE} > 0"}
        scraped = {"scrape": {"litellm": gateway.removeprefix("http://")}, "metrics_path": "/metrics/"}
        with rig.daemon(at, world.watched, SHADOW) as daemon:
            token = sender_token(daemon.api)
        prometheus, _ = peers.enter_context(alerted(tmp_path, at, token, rules=[rule], **scraped))
        hide(gateway, True)
        world.break_provider(True)
        sight: dict[str, JsonValue] = {
            **SHADOW,
            "prometheus": [polled("prometheus", prometheus, query("told_by_prometheus", f"{STATE} > 0"))],
            "alertmanager": {"subjects": [{"label": "model_id", "kind": "deployment"}]},
            "detectors": {"provider_outage": {"window_s": 15, "min_calls": 6, "state_series": "told_by_prometheus"}},
        }
        with rig.daemon(at, world.watched, sight) as daemon:
            until(daemon.api, "gateway", lambda told: told["state"] == "failing")
            until(daemon.api, "prometheus", lambda told: told["signals"])
            until(daemon.api, "alertmanager", lambda told: told["signals"])
            assert daemon.api.get("/v1/incidents", closed=True) == []
            hide(gateway, False)
            found = signs(daemon.api)
            assert found.keys() == {"http_5xx", "gateway_state", "alert"}
            assert (found["gateway_state"], found["alert"]) == (1, 1)


def hide(gateway: str, on: bool) -> None:
    """Whether the lab's gateway hides from its pollers; its metrics page is left alone."""
    body = {"mode": "500", "paths": ["/health/readiness"]} if on else {"mode": "none"}
    httpx.post(f"{gateway}/_lab/fault", json=body, trust_env=False).raise_for_status()
