"""Changes as requests: what an apply states, under which manager, and what is never sent."""

from __future__ import annotations

import json

import pytest

from watchkeeper.adapters.kubernetes.dialect import BUDGET, error_code, kept, throttled
from watchkeeper.adapters.kubernetes.kinds import KINDS, Place, place_of
from watchkeeper.adapters.kubernetes.objects import JsonObject, gitops, manager_of, rolled_out
from watchkeeper.adapters.kubernetes.permissions import Rule, rbac
from watchkeeper.adapters.kubernetes.writes import apply, manager, remove_pod, unset
from watchkeeper.core.actions import Change, FieldChange, Intent, Target
from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Scalar

WEB = Place(KINDS["kube_deployment"], "shop", "web")


def change(intent: Intent, **after: Scalar) -> Change:
    fields = tuple(FieldChange(path=path.replace("__", ":"), before=None, after=value) for path, value in after.items())
    return Change(
        target=Target(adapter="kubernetes:a", kind="kube_deployment", id="shop/web"), intent=intent, fields=fields
    )


def test_an_apply_names_the_object_its_state_and_only_the_fields_of_the_change() -> None:
    request = apply(change(Intent.SCALE, replicas=3), WEB, "apps/v1", "u-1/77")
    assert (request.method, request.path) == ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web")
    assert request.body == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "77"},
        "spec": {"replicas": 3},
    }


def test_fields_of_one_container_are_one_entry() -> None:
    made = change(Intent.SET_RESOURCES, memory_limit__app="128Mi", memory_request__side="1Gi", cpu_limit__app="1")
    body = apply(made, WEB, "apps/v1", "u/1").body
    assert isinstance(body, dict)
    assert json.dumps(body["spec"]) == json.dumps(
        {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "app", "resources": {"limits": {"memory": "128Mi", "cpu": "1"}}},
                        {"name": "side", "resources": {"requests": {"memory": "1Gi"}}},
                    ]
                }
            }
        }
    )


def test_a_field_is_unset_where_it_is_and_only_in_the_state_that_was_seen() -> None:
    side: JsonObject = {"name": "side"}
    app: JsonObject = {"name": "app", "env": [{"name": "A"}, {"name": "B"}], "resources": {"limits": {"cpu": "1"}}}
    found: JsonObject = {"spec": {"template": {"spec": {"containers": [side, app]}}}}
    steps = unset(change(Intent.SET_CONFIG, env__app__B=None), WEB, "apps/v1", "u-1/77", found).body
    path = "/spec/template/spec/containers/1"
    first, moved, *rest = steps if isinstance(steps, list) else []
    assert first == {"op": "test", "path": "/metadata/uid", "value": "u-1"}
    assert moved == {"op": "replace", "path": "/metadata/resourceVersion", "value": "77"}
    assert rest == [{"op": "remove", "path": f"{path}/env/1"}]
    made = change(Intent.SET_RESOURCES, cpu_limit__app=None, memory_limit__app="64Mi")
    steps = unset(made, WEB, "apps/v1", "u-1/77", found).body
    assert isinstance(steps, list)
    assert steps[2:] == [
        {"op": "remove", "path": f"{path}/resources/limits/cpu"},
        {"op": "add", "path": f"{path}/resources/limits/memory", "value": "64Mi"},
    ]


def test_each_set_of_fields_has_a_manager_of_its_own_and_undo_has_the_same() -> None:
    """An apply takes away what its manager owned and it does not state: two changes must not share one."""
    scale, image = change(Intent.SCALE, replicas=3), change(Intent.PIN_VERSION, image__app="x:1")
    assert manager(scale) != manager(image)
    assert manager(scale) == manager(scale.inverse())
    assert len(manager(scale)) < 128


@pytest.mark.parametrize(("intent", "method"), [(Intent.RESTART, "DELETE"), (Intent.DRAIN, "POST")])
def test_a_pod_is_removed_only_while_it_is_the_same_pod(intent: Intent, method: str) -> None:
    pod = Place(KINDS["pod"], "shop", "web-1")
    request = remove_pod(change(intent), pod, "u-9/5", "policy/v1beta1")
    assert request.method == method
    assert '"preconditions": {"uid": "u-9"}' in json.dumps(request.body)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("kube_deployment", "web"), ("kube_deployment", "a/b/c"), ("node", "a/b"), ("pod", "a/../b"), ("job", "a/b")],
)
def test_an_id_that_can_name_nothing_is_refused(kind: str, name: str) -> None:
    with pytest.raises(InputError):
        place_of(Target(adapter="kubernetes:a", kind=kind, id=name))


def test_a_budget_is_no_wish_to_be_left_alone() -> None:
    status = {"kind": "Status", "reason": "TooManyRequests", "details": {"causes": [{"reason": BUDGET}]}}
    assert error_code(json.dumps(status).encode()) == BUDGET
    assert not throttled(429, {}, BUDGET)
    assert throttled(429, {}, "TooManyRequests")


def test_values_of_variables_and_secrets_are_not_recorded() -> None:
    template = {"spec": {"containers": [{"name": "a", "env": [{"name": "TOKEN", "value": "s3cret"}, {"name": "B"}]}]}}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "s3cret", "team": "core"}
    deployment = {"metadata": {"annotations": annotations, "managedFields": [{}]}, "spec": {"template": template}}
    secret = {"kind": "Secret", "data": {"password": "s3cret"}, "stringData": {"x": "s3cret"}}
    for found in (deployment, {"items": [deployment]}, secret):
        text = kept(json.dumps(found).encode())
        assert b"s3cret" not in text
        assert b"managedFields" not in text
    assert b'"TOKEN"' in kept(json.dumps(deployment).encode())
    assert b"core" in kept(json.dumps(deployment).encode())
    assert kept(b"<html>") == b"<html>"


def test_who_writes_again_owns_the_field() -> None:
    entry: JsonObject = {"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    found: JsonObject = {"metadata": {"managedFields": [{"manager": "kubectl"}, entry], "labels": {}}}
    assert manager_of(found, "spec", "replicas") == "argocd"
    assert manager_of(found, "spec", "paused") == ""
    assert gitops({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}}) == "flux"
    assert gitops(found) == ""


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, True),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}, False),
        ({}, False),
    ],
)
def test_a_rollout_is_over_when_every_pod_is_new_and_ready(status: dict[str, int], expected: bool) -> None:
    found: JsonObject = {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": {**status}}
    assert rolled_out("deployment", found) is expected


def test_permissions_are_rules_with_the_same_verbs_together() -> None:
    names = ("get apps/deployments", "patch apps/deployments", "get apps/statefulsets", "create pods/eviction")
    assert rbac([Rule.of(name) for name in names]) == [
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
    ]
    review = Rule.of("create pods/eviction").review("shop")
    assert review["spec"] == {
        "resourceAttributes": {
            "verb": "create",
            "group": "",
            "resource": "pods",
            "subresource": "eviction",
            "namespace": "shop",
        }
    }
