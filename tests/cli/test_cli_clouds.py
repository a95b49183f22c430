"""Google Cloud and Azure from the settings on: credentials are found, and permissions told, as on any host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.adapters.azure.suite import TOKEN
from tests.adapters.azure.suite import generated_role as azure_role
from tests.adapters.azure.test_azure_credentials import Identity
from tests.adapters.gcp.suite import generated_role as gcp_role
from tests.adapters.gcp.test_gcp_credentials import key
from tests.testbed.clouds.azure import GROUP, AzureFake
from tests.testbed.clouds.azure_world import SUBSCRIPTION
from tests.testbed.clouds.gcp import GcpFake
from tests.testbed.clouds.gcp_world import PROJECT

from .conftest import Cli

RESET, REIMAGE = "compute.instances.reset", "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/reimage/action"


def test_what_the_clouds_do_not_grant_is_told_and_nothing_else(
    cli: Cli, gcp: GcpFake, azure: AzureFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.token, azure.granted = TOKEN, tuple(each for each in azure_role() if each != REIMAGE)
    gcp.granted = gcp_role() - {RESET}
    (tmp_path / "key.json").write_text(json.dumps(key()))
    targets = {
        "gcp": [{"name": "main", "project": PROJECT, "endpoint": gcp.url}],
        "azure": [{"name": "main", "subscription": SUBSCRIPTION, "endpoint": azure.url, "resource_groups": [GROUP]}],
    }
    (tmp_path / "wk.yaml").write_text(json.dumps({"data_dir": str(tmp_path / "data"), "targets": targets}))
    with Identity() as identity:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{identity.url}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        said = cli("adapters", "check", "--config", str(tmp_path / "wk.yaml"))
    assert said.code == 8
    assert {RESET, REIMAGE} <= set(said.out.split())
    assert said.out.count("missing") == 2
    assert (gcp.effects(), azure.effects()) == (0, 0)
