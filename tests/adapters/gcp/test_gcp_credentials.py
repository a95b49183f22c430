"""How the credential is found when nobody gives one: as Google's libraries do, by a file that the environment names."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import JsonValue
from tests.adapters.gcp.suite import NAME, TOKEN
from tests.testbed.clouds.gcp import GcpFake
from tests.testbed.clouds.gcp_world import PROJECT
from tests.testbed.clouds.jsonserver import JsonServer, Reply, Request

from watchkeeper.adapters.gcp.adapter import GcpAdapter
from watchkeeper.adapters.gcp.config import GcpConfig
from watchkeeper.adapters.kit import KitSink
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import AdapterError, ConfigError
from watchkeeper.ledger.evidence.redaction import Redactor

ACCOUNT = f"watchkeeper@{PROJECT}.iam.gserviceaccount.com"


class Tokens(JsonServer):
    """Google's token service: somebody else's token in, one of Google's out."""

    def __init__(self, *, good: bool = True) -> None:
        super().__init__()
        self.asked, self._good = 0, good

    def answer(self, request: Request) -> Reply:
        assert b"subject_token=theirs" in request.body
        self.asked += 1
        if not self._good:
            return Reply(400, {"error": "invalid_grant", "error_description": "s3cret"})
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return Reply(
            200, {"access_token": TOKEN, "issued_token_type": kind, "token_type": "Bearer", "expires_in": 3600}
        )


class Watched(GcpFake):
    def __init__(self) -> None:
        super().__init__()
        self.bearers: list[str] = []

    def answer(self, request: Request) -> Reply:
        self.bearers.append(request.headers.get("authorization", "").removeprefix("Bearer "))
        return super().answer(request)


def named(folder: Path, document: Mapping[str, JsonValue], monkeypatch: pytest.MonkeyPatch) -> None:
    """What GOOGLE_APPLICATION_CREDENTIALS names from now on."""
    path = folder / "credential.json"
    path.write_text(json.dumps(document))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


def key() -> Mapping[str, JsonValue]:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": ACCOUNT,
        "token_uri": "http://127.0.0.1:9/never-asked",
    }


def federation(folder: Path, token_url: str) -> Mapping[str, JsonValue]:
    """A token of the platform is exchanged. Its pool names no project: the library would ask Google for its name."""
    theirs = folder / "theirs"
    theirs.write_text("theirs")
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_url,
        "credential_source": {"file": str(theirs)},
    }


def adapter_at(url: str) -> GcpAdapter:
    clock = ManualClock()
    config = GcpConfig(name="kit", project=PROJECT, endpoint=url)
    return GcpAdapter(config, CallRecorder(KitSink(), Redactor(), clock), clock)


async def look(gcp: GcpFake) -> None:
    made = adapter_at(gcp.url)
    try:
        for kind, id_ in (("instance", gcp.instance()), ("instance_group", gcp.group())):
            assert (await made.inspect(Target(adapter=NAME, kind=kind, id=id_))).exists
    finally:
        await made.close()


async def test_a_key_file_signs_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named(tmp_path, key(), monkeypatch)
    with Watched() as gcp:
        await look(gcp)
    for bearer in gcp.bearers:
        payload = bearer.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert (claims["iss"], claims["scope"]) == (ACCOUNT, "https://www.googleapis.com/auth/cloud-platform")


async def test_a_platforms_token_is_exchanged_once(
    gcp: GcpFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcp.token = TOKEN
    with Tokens() as tokens:
        named(tmp_path, federation(tmp_path, tokens.url), monkeypatch)
        await look(gcp)
    assert tokens.asked == 1


async def test_a_credential_that_google_does_not_take_is_told_without_its_words(
    gcp: GcpFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tokens(good=False) as tokens:
        named(tmp_path, federation(tmp_path, tokens.url), monkeypatch)
        with pytest.raises(AdapterError, match=r"the official client of gcp:kit failed \(OAuthError\)") as caught:
            await look(gcp)
    assert "s3cret" not in caught.value.diagnostics()


async def test_no_credential_at_all_is_a_matter_of_the_settings(
    gcp: GcpFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(ConfigError, match="no credential was found"):
        await look(gcp)
