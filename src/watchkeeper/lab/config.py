"""What a lab is made of, and the `lab.json` by which others find it.

`lab.json` holds addresses, hashes and the paths of key files, never a key itself.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from watchkeeper.core.model import Contract


class LabConfig(Contract):
    """`port` is the gateway's; providers a and b and the control server take the next three. 0 picks free ports."""

    directory: Path
    seed: int = 1
    port: int = Field(default=0, ge=0, le=65_000)
    pace: float = Field(default=1.0, ge=0, le=50, description="factor on every caller's rate; 0 starts no callers")
    otlp_url: str | None = Field(default=None, description="the daemon's address; spans go to <it>/v1/traces")
    otlp_token: SecretStr = SecretStr("")
    environment: str = "lab"
    proxy_batch_write_at: float = Field(default=1.0, gt=0, le=60)
    rate_window_s: float = Field(default=60.0, gt=0, le=600)
    num_retries: int = Field(default=1, ge=0, le=5)
    cooldown_s: float = Field(default=0.0, ge=0, le=600)


class ProviderInfo(Contract):
    name: str
    url: str


class AgentInfo(Contract):
    """One caller: its service, and the virtual key it calls with."""

    name: str
    service: str
    model: str
    key_alias: str
    key_hash: str
    key_file: Path


class DeploymentInfo(Contract):
    model_id: str
    model_name: str
    provider: str
    manageable: bool


class LabInfo(Contract):
    """The content of `lab.json`."""

    version: int = 1
    pid: int
    seed: int
    environment: str
    gateway_url: str
    control_url: str
    master_key_file: Path
    journal_file: Path
    proxy_batch_write_at: float
    providers: tuple[ProviderInfo, ...]
    agents: tuple[AgentInfo, ...]
    deployments: tuple[DeploymentInfo, ...]
