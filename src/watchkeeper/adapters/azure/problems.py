"""Why an action in a subscription cannot be done, and what a person changes so that it can."""

from __future__ import annotations

from collections.abc import Mapping

from watchkeeper.adapters.azure.places import FORMS
from watchkeeper.adapters.problems import FIXES as COMMON

FIXES: Mapping[str, str] = {
    **COMMON,
    "bad_id": "name the target by its resource group: " + "; ".join(f"{kind} {form}" for kind, form in FORMS.items()),
    "other_group": "add the resource group to `resource_groups` of this subscription in the settings",
    "busy": "another operation is on the machine: wait for its end",
    "not_running": "only a running machine can be restarted or deallocated: start it first",
    "other_state": "the machine has no power state (hibernated, or still being made): bring it to running first",
    "no_size": "this scale set has no capacity of its own",
    "no_etag": "the API gave no etag for this scale set: without it two writers could overwrite each other",
}
