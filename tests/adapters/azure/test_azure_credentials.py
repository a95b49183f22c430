"""How the credential is found when nobody gives one: as azure-identity does, as a managed identity here."""

from __future__ import annotations

import time

import pytest
from tests.adapters.azure.suite import NAME, TOKEN
from tests.testbed.clouds.azure import AzureFake
from tests.testbed.clouds.azure_world import SUBSCRIPTION
from tests.testbed.clouds.jsonserver import JsonServer, Reply, Request

from watchkeeper.adapters.azure.adapter import AzureAdapter
from watchkeeper.adapters.azure.config import AzureConfig
from watchkeeper.adapters.kit import KitSink
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.ledger.evidence.redaction import Redactor


class Identity(JsonServer):
    """The endpoint that a host with a managed identity has."""

    def __init__(self) -> None:
        super().__init__()
        self.resources: list[str] = []

    def answer(self, request: Request) -> Reply:
        assert request.headers["x-identity-header"] == "header"
        self.resources.append(request.query["resource"])
        expires = str(int(time.time()) + 3600)
        return Reply(200, {"access_token": TOKEN, "expires_on": expires, "resource": "r", "token_type": "Bearer"})


async def test_a_managed_identity_is_found_and_asked_for_the_clouds_own_token(
    azure: AzureFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    azure.token, clock = TOKEN, ManualClock()
    with Identity() as identity:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{identity.url}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        config = AzureConfig(name="kit", subscription=SUBSCRIPTION, endpoint=azure.url)
        made = AzureAdapter(config, CallRecorder(KitSink(), Redactor(), clock), clock)
        for kind, id_ in (("vm", azure.vm()), ("scale_set", azure.scale_set())):
            assert (await made.inspect(Target(adapter=NAME, kind=kind, id=id_))).exists
        await made.close()
    assert identity.resources == [azure.url]
