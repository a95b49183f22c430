"""Why an action in a project cannot be done, and what a person changes so that it can."""

from __future__ import annotations

from collections.abc import Mapping

from watchkeeper.adapters.gcp.places import FORMS
from watchkeeper.adapters.problems import FIXES as COMMON

FIXES: Mapping[str, str] = {
    **COMMON,
    "bad_id": "name the target by its place: " + "; ".join(f"{kind} {form}" for kind, form in FORMS.items()),
    "other_state": "the instance is suspended, in repair or going away: let it run or be stopped first",
    "not_running": "only a running instance can be reset: start it instead",
    "bounds_crossed": "min_replicas would be above max_replicas: give both",
    "bound_unset": "give the autoscaler this bound once by hand: what was never set cannot be restored",
    "no_such_backend": "name a backend of the service as PLACE/NAME, as gcloud compute backend-services describe shows",
    "no_capacity": "a serverless or internet backend has no capacity scaler: move its traffic in the URL map",
    "two_backends": "two backends of the service are called alike: rename one of the groups",
    "last_backend": "no other backend of the service takes traffic: give one capacity first",
}
