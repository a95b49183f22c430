"""The chart as helm renders it, for old and new servers; what is generated in it is up to date."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helm import chartfiles
from tests.helm.releases import CHART, of_kind, render, try_render
from tests.testbed.kubernetes import Installation

from watchkeeper.adapters.catalog import system
from watchkeeper.core.actions import Intent
from watchkeeper.daemon.settings import load

KUBERNETES = system("kubernetes")
INTENTS = sorted({each.intent for each in KUBERNETES.capabilities})
SERVERS = (("--kube-version=1.20",), ("--kube-version=1.37", "--api-versions=policy/v1/PodDisruptionBudget"))
PLACES = ["team-a", "team-b"]
TEAM = {"namespaces": PLACES, "nodes": True}


@pytest.fixture(scope="module")
def helm(kubernetes_installation: Installation) -> Path:
    return kubernetes_installation.helm


def test_generated_files_are_up_to_date() -> None:
    """Else: python -m tests.helm.chartfiles"""
    assert chartfiles.PERMISSIONS.read_text() == chartfiles.permissions()
    assert chartfiles.SCHEMA.read_text() == chartfiles.schema(chartfiles.SCHEMA.read_text())
    assert chartfiles.README.read_text() == chartfiles.readme(chartfiles.README.read_text())


def test_no_part_of_the_settings_takes_what_it_does_not_know() -> None:
    models = json.loads(chartfiles.SCHEMA.read_text())["$defs"]
    assert [name for name, each in models.items() if each["type"] == "object" and each["additionalProperties"]] == []
    given = {name for each in models.values() for name in each.get("properties", {})}
    assert {"admin_key", "bearer", "signing_key"} & given == set()
    assert {"admin_key_file", "bearer_file", "signing_key_file"} <= given


@pytest.mark.peer
def test_helm_finds_no_fault(helm: Path) -> None:
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.peer
@pytest.mark.parametrize("intents", [[], *([each] for each in INTENTS), [Intent.RESTART, Intent.SCALE, Intent.CORDON]])
def test_the_rules_are_those_that_are_generated(helm: Path, intents: list[Intent]) -> None:
    """As `watchkeeper adapters permissions --system kubernetes --intents ...` prints them."""
    objects = render(helm, {"actIn": {**TEAM, "intents": [str(each) for each in intents]}})
    grants = [yaml.safe_load(grant.text) for grant in KUBERNETES.grants(KUBERNETES.covering(intents, ()))]
    for kind, places in (("Role", PLACES), ("ClusterRole", [None])):
        wanted = [grant["rules"] for grant in grants if grant["kind"] == kind] * len(places)
        made = of_kind(objects, kind)
        assert [each["rules"] for each in made] == wanted
        assert [each["metadata"].get("namespace") for each in made] == places[: len(wanted)]
        assert len(of_kind(objects, f"{kind}Binding")) == len(wanted)


@pytest.mark.peer
@pytest.mark.parametrize("server", SERVERS, ids=lambda words: words[0])
def test_what_is_rendered_is_held_tight(helm: Path, server: tuple[str, ...], tmp_path: Path) -> None:
    given = {"config": {"services": [{"name": "shop"}], "inbox_capacity": 2_000_000}, "secrets": ["gateway"]}
    objects = render(helm, {**given, "actIn": TEAM}, *server)
    (deployment,) = of_kind(objects, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "secret-gateway", "mountPath": "/etc/watchkeeper/secrets/gateway", "readOnly": True} in container[
        "volumeMounts"
    ]
    (claim,) = of_kind(objects, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "storageClassName" not in claim["spec"]
    (config,) = of_kind(objects, "ConfigMap")
    (tmp_path / "watchkeeper.yaml").write_text(config["data"]["watchkeeper.yaml"])
    settings = load(tmp_path / "watchkeeper.yaml", {})
    assert (settings.inbox_capacity, settings.services[0].name) == (2_000_000, "shop")
    (cluster,) = settings.targets.kubernetes
    assert (cluster.in_cluster, list(cluster.namespaces), cluster.nodes) == (True, PLACES, True)


@pytest.mark.peer
def test_who_may_act_nowhere_has_no_token(helm: Path) -> None:
    objects = render(helm, {})
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert {each["kind"] for each in objects} == {
        *("ConfigMap", "Deployment", "PersistentVolumeClaim", "Service", "ServiceAccount"),
    }


@pytest.mark.peer
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"config": {"api": {"port": 1}}}, "additional properties 'api' not allowed"),
        ({"config": {"database": {"url_file": "/x"}}}, "additional properties 'database' not allowed"),
        ({"config": {"gateways": [{"name": "g", "admin_key": "x"}]}}, "additional properties 'admin_key' not allowed"),
        ({"actIn": {"intents": ["kill"]}}, "value must be one of"),
        ({"actIn": {"namespaces": ["watch"]}}, "Watchkeeper does not act on itself"),
        ({"actIn": {"nodes": True}}, "actIn.nodes without actIn.namespaces"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else None,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_installed(
    helm: Path, values: dict[str, Any], why: str
) -> None:
    done = try_render(helm, values)
    assert done.returncode != 0
    assert why in done.stderr


@pytest.mark.peer
def test_a_volume_of_ones_own_or_none(helm: Path) -> None:
    def volumes(**persistence: Any) -> tuple[Any, list[Any]]:
        objects = render(helm, {"persistence": persistence})
        (deployment,) = of_kind(objects, "Deployment")
        data = deployment["spec"]["template"]["spec"]["volumes"][0]
        return data, [each["spec"].get("storageClassName") for each in of_kind(objects, "PersistentVolumeClaim")]

    own = {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}
    assert volumes(existingClaim="mine") == (own, [])
    assert volumes(enabled=False, size="1Gi") == ({"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}, [])
    assert volumes(storageClass="")[1] == [""]
    assert volumes(storageClass="fast")[1] == ["fast"]
