"""Which project, and where its API is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from watchkeeper.core.model import Contract

Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Project = Annotated[str, Field(pattern=r"^([a-z0-9.-]{1,64}:)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
Endpoint = Annotated[str, Field(pattern=r"^(https://[A-Za-z0-9.-]+(:\d+)?|http://(127\.0\.0\.1|localhost)(:\d+)?|)$")]


class GcpConfig(Contract):
    """The credential is found as Google's libraries find it: GOOGLE_APPLICATION_CREDENTIALS, workload identity, the
    metadata server."""

    name: Name
    project: Project
    endpoint: Endpoint = ""
    """A private endpoint in the place of googleapis.com."""
    reply_s: float = Field(default=10.0, gt=0)
    settle_s: float = Field(default=30.0, ge=0)
    """How long after we gave up waiting a call may still land."""
