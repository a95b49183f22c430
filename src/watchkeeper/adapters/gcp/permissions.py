"""The custom role that a set of capabilities needs. Pure."""

from __future__ import annotations

from collections.abc import Collection

import yaml

from watchkeeper.adapters.contract import Capability
from watchkeeper.adapters.grants import Grant


def grants(capabilities: Collection[Capability]) -> tuple[Grant, ...]:
    names = sorted({name for each in capabilities for name in each.permissions})
    if not names:
        return ()
    role = {
        "title": "Watchkeeper",
        "description": "What Watchkeeper may do in this project, and no more",
        "stage": "GA",
        "includedPermissions": names,
    }
    how = (
        "gcloud iam roles create watchkeeper --project=PROJECT --file=FILE, then bind the service account to "
        "projects/PROJECT/roles/watchkeeper"
    )
    return (Grant("GCP custom role", yaml.safe_dump(role, sort_keys=False), how),)
