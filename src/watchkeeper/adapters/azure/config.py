"""Which subscription, and where in it something may be done."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from watchkeeper.core.model import Contract

Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Subscription = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
ResourceGroup = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]$")]
Endpoint = Annotated[str, Field(pattern=r"^(https://[A-Za-z0-9.-]+(:\d+)?|http://(127\.0\.0\.1|localhost)(:\d+)?|)$")]


class AzureConfig(Contract):
    """The credential is found as azure-identity finds it: AZURE_CLIENT_ID and its like, workload identity, a managed
    identity."""

    name: Name
    subscription: Subscription
    resource_groups: tuple[ResourceGroup, ...] = ()
    """Where something may be done; anywhere in the subscription if none is named."""
    endpoint: Endpoint = ""
    """Of the resource manager, in another cloud than the public one."""
    reply_s: float = Field(default=10.0, gt=0)
    settle_s: float = Field(default=30.0, ge=0)
    """How long after we gave up waiting a call may still land."""
