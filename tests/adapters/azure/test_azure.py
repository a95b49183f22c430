"""Azure's machines and scale sets as fields, changes as calls, and what a credential is told of itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pydantic import JsonValue
from tests.adapters.azure.suite import NAME, TOKEN, action, azure_adapter, generated_role
from tests.testbed.clouds.azure import GROUP, AzureFake, Refusal

from watchkeeper.adapters.azure.adapter import AzureAdapter, request_of
from watchkeeper.adapters.azure.capabilities import CAPABILITIES
from watchkeeper.adapters.azure.dialect import error_code, kept
from watchkeeper.adapters.azure.fields import JsonObject, machine_fields, scale_set_fields, scaled_by
from watchkeeper.adapters.azure.permissions import allowed, grants
from watchkeeper.adapters.azure.places import place_of
from watchkeeper.adapters.change import inverse
from watchkeeper.adapters.contract import EffectResult, Grip, Happened
from watchkeeper.adapters.kit import CLAIM, INCIDENT, KitSink, sure
from watchkeeper.adapters.recorder import under
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import Change, FieldChange, FieldState, Intent, Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import InputError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.model import Scalar
from watchkeeper.core.outcomes import Effect

KEY = ActionKey("pln_a/0/apply")
READ, RESTART = "Microsoft.Compute/virtualMachines/read", "Microsoft.Compute/virtualMachines/restart/action"


@asynccontextmanager
async def adapter(azure: AzureFake) -> AsyncIterator[AzureAdapter]:
    azure.token = TOKEN
    async with azure_adapter(azure.url, KitSink(), ManualClock()) as made:
        yield made


async def apply(made: AzureAdapter, change: Change) -> EffectResult:
    with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
        return await made.apply(change, KEY, ManualClock().now() + timedelta(seconds=5))


def by_path(fields: tuple[FieldState, ...]) -> dict[str, FieldState]:
    return {field.path: field for field in fields}


def view(power: str, provisioning: str = "succeeded", **more: JsonValue) -> JsonObject:
    ended: JsonObject = {"code": f"ProvisioningState/{provisioning}"}
    if provisioning != "updating":
        ended["time"] = "2026-01-01T00:00:00+00:00"
    return {"properties": {"instanceView": {"statuses": [ended, {"code": f"PowerState/{power}"}]}}, **more}


class TestAtTheFake:
    async def test_a_restart_that_failed_is_never_called_back(self, azure: AzureFake) -> None:
        async with adapter(azure) as made:
            change = await made.dry_run(action(Intent.RESTART, "vm", azure.vm()))
            azure.fail_next()
            assert (await apply(made, change)).effect is Effect.SUCCEEDED
            azure.world.settle()
            seen = await made.observe(change, KEY)
            assert (seen.happened, seen.restored) == (Happened.YES, False)

    async def test_a_machine_that_is_worked_on_is_left_alone(self, azure: AzureFake) -> None:
        id_ = azure.vm()
        async with adapter(azure) as made:
            with azure.held():
                await apply(made, await made.dry_run(action(Intent.RESTART, "vm", id_)))
                found = await made.precheck(action(Intent.RESTART, "vm", id_))
        assert [problem.code for problem in found.problems] == ["busy"]

    @pytest.mark.parametrize("power", ["stopped", "deallocated"])
    async def test_a_machine_that_was_started_is_put_back_as_it_was(self, azure: AzureFake, power: str) -> None:
        id_ = azure.vm(power)
        async with adapter(azure) as made:
            change = await made.dry_run(action(Intent.START, "vm", id_))
            await apply(made, change)
            assert azure.fields("vm", id_)["power"] == "running"
            with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
                await made.apply(inverse(change), ActionKey("undo"), ManualClock().now() + timedelta(seconds=5))
        assert azure.fields("vm", id_)["power"] == power

    async def test_azure_monitor_owns_the_size_that_it_scales(self, azure: AzureFake) -> None:
        mine, other = azure.scale_set(), azure.scale_set()
        azure.autoscale(mine)
        async with adapter(azure) as made:
            owners = [
                (await made.inspect(Target(adapter=NAME, kind="scale_set", id=id_))).fields[0].owner
                for id_ in (mine, other)
            ]
        assert owners == ["autoscale", ""]

    async def test_how_many_there_are_is_counted_over_all_pages(self, azure: AzureFake) -> None:
        ids, azure.page = [azure.vm() for _ in range(5)], 2
        member = azure.scale_set_vms(azure.scale_set(3))[0]
        async with adapter(azure) as made:
            found = [
                (await made.inspect(Target(adapter=NAME, kind=kind, id=id_))).population
                for kind, id_ in (("vm", ids[0]), ("scale_set_vm", member), ("scale_set", member.rpartition("/")[0]))
            ]
        assert found == [5, 3, 1]

    async def test_permissions_are_told(self, azure: AzureFake) -> None:
        azure.granted = ("Microsoft.Compute/*/read", "Microsoft.Authorization/permissions/read")
        async with adapter(azure) as made:
            found = {each.permission: each.grip for each in await made.permitted((READ, RESTART))}
            azure.granted = (READ,)
            assert {each.grip for each in await made.permitted((READ, RESTART))} == {Grip.UNKNOWN}
        assert found == {READ: Grip.GRANTED, RESTART: Grip.MISSING}

    async def test_the_generated_role_is_seen_as_whole(self, azure: AzureFake) -> None:
        azure.granted = generated_role()
        async with adapter(azure) as made:
            found = await made.permitted([name for each in CAPABILITIES for name in each.permissions])
        assert {each.grip for each in found} == {Grip.GRANTED}

    async def test_azures_wait_and_words_are_passed_on(self, azure: AzureFake) -> None:
        target = Target(adapter=NAME, kind="vm", id=azure.vm())
        async with adapter(azure) as made:
            azure.refuse_next(Refusal(403, "AuthorizationFailed", "no"))
            with pytest.raises(HttpError) as refused:
                await made.inspect(target)
            azure.throttle_next(retry_after_s=7)
            with pytest.raises(HttpError) as slow:
                await made.inspect(target)
        assert (refused.value.own_code, refused.value.retryable) == ("AuthorizationFailed", False)
        assert (slow.value.retryable, (slow.value.retry_after_s or 0) >= 7) == (True, True)


@pytest.mark.parametrize(
    ("kind", "id_"),
    [("vm", "vm-1"), ("vm", "g/a/b"), ("vm", "g./a"), ("vm", "g/.."), ("scale_set_vm", "g/a"), ("disk", "g/a")],
)
def test_an_id_that_can_name_nothing_is_refused(kind: str, id_: str) -> None:
    with pytest.raises(InputError):
        place_of(Target(adapter=NAME, kind=kind, id=id_))


@pytest.mark.parametrize(
    ("shown", "power", "manageable", "up"),
    [
        (view("running"), "running", True, True),
        (view("running", "updating"), "running", True, False),
        (view("starting"), "running", True, False),
        (view("deallocating"), "deallocated", True, False),
        (view("stopped"), "stopped", True, False),
        (view("hibernated"), "hibernated", False, False),
        ({"properties": {}}, None, False, False),
    ],
)
def test_a_power_state_between_two_counts_as_the_one_it_leads_to(
    shown: JsonObject, power: Scalar, manageable: bool, up: bool
) -> None:
    found = by_path(machine_fields(shown, "shop"))
    assert (found["power"].value, found["power"].manageable, found["up"].value) == (power, manageable, up)


def test_a_machine_that_is_worked_on_has_no_end_of_its_last_operation() -> None:
    busy, done = (
        by_path(machine_fields(view("running", "updating"), "g")),
        by_path(machine_fields(view("running"), "g")),
    )
    assert (busy["provisioned_at"].value, busy["provisioned_at"].why) == (None, "busy")
    assert (done["provisioned_at"].value, done["provisioned_at"].why) == ("2026-01-01T00:00:00+00:00", "")


def test_who_would_start_a_machine_again_owns_its_power() -> None:
    tags: JsonValue = {"aks-managed-poolName": "a"}
    flexible: JsonObject = {"properties": {"virtualMachineScaleSet": {"id": "/x"}}}
    assert by_path(machine_fields(view("running", tags=tags), "shop"))["power"].owner == "aks"
    assert by_path(machine_fields(view("running"), "MC_shop_aks_westeurope"))["power"].owner == "aks"
    assert by_path(machine_fields(flexible, "shop"))["power"].owner == "scale_set"
    assert by_path(machine_fields(view("running", tags={"team": "a"}), "shop"))["power"].owner == ""


def test_a_size_without_an_etag_or_of_somebody_else_is_told() -> None:
    found: JsonObject = {"id": "/Sets/A", "sku": {"capacity": 2}, "etag": '"1"', "tags": {"aks-managed-x": "1"}}
    (field,) = scale_set_fields(found, "shop", autoscaled=True)
    assert (field.value, field.manageable, field.owner) == (2, True, "aks")
    assert scale_set_fields({"sku": {"capacity": 2}}, "shop", False)[0].why == "no_etag"
    assert scale_set_fields({"sku": {}, "etag": "1"}, "shop", False)[0].why == "no_size"
    setting: JsonObject = {"properties": {"enabled": True, "targetResourceUri": "/sets/a"}}
    off: JsonObject = {"properties": {"enabled": False, "targetResourceUri": "/sets/a"}}
    assert [scaled_by([each], found) for each in (setting, off)] == [True, False]


@pytest.mark.parametrize(
    ("intent", "path", "after", "method"),
    [
        (Intent.STOP, "power", "deallocated", "begin_deallocate"),
        (Intent.START, "power", "running", "begin_start"),
        (Intent.START, "power", "stopped", "begin_power_off"),
        (Intent.RESTART, "provisioned_at", None, "begin_restart"),
    ],
)
def test_a_change_is_one_call(intent: Intent, path: str, after: Scalar, method: str) -> None:
    target = Target(adapter=NAME, kind="vm", id=f"{GROUP}/a")
    change = Change(target=target, intent=intent, fields=(FieldChange(path=path, before="x", after=after),))
    request = request_of(change, place_of(target), '"7"')
    assert (request.group, request.method, request.arguments) == ("virtual_machines", method, (GROUP, "a"))
    assert (request.body, request.etag) == (None, "")


def test_what_a_role_excludes_it_excludes_from_itself_only() -> None:
    reader: JsonObject = {"actions": ["*/read"], "notActions": ["Microsoft.Compute/virtualMachines/READ"]}
    own: JsonObject = {"actions": [READ], "notActions": []}
    assert allowed("microsoft.compute/virtualmachinescalesets/read", [reader])
    assert not allowed(READ, [reader])
    assert allowed(READ, [reader, own])
    assert not allowed(RESTART, [reader, own, "text"])


def test_a_role_holds_what_the_capabilities_need_and_no_more() -> None:
    (role,) = grants([each for each in CAPABILITIES if each.intent is Intent.RESTART and each.target_kind == "vm"])
    found = json.loads(role.text)
    assert found["Actions"] == [READ, RESTART, "Microsoft.Authorization/permissions/read"]
    assert found["AssignableScopes"] == ["/subscriptions/SUBSCRIPTION/resourceGroups/GROUP"]
    assert grants([]) == ()


def test_azures_word_for_an_error_is_found() -> None:
    body = json.dumps({"error": {"code": "ExpiredAuthenticationToken", "message": "x"}}).encode()
    assert error_code(body) == "ExpiredAuthenticationToken"
    for wrong in (b"<html>", b'{"error": "text"}', b'{"error": {"code": "two words"}}', b"[]"):
        assert error_code(wrong) == ""


def test_what_a_machine_is_made_with_and_what_its_extensions_print_is_not_recorded() -> None:
    substatus = {"code": "ComponentStatus/StdOut/succeeded", "message": "s3cret"}
    found = {
        "properties": {
            "osProfile": {"customData": "s3cret", "adminUsername": "azureuser"},
            "instanceView": {"extensions": [{"name": "script", "substatuses": [substatus]}]},
        },
        "resources": [{"properties": {"settings": {"commandToExecute": "s3cret"}}}],
    }
    text = kept(json.dumps({"value": [found]}).encode())
    assert b"s3cret" not in text
    assert b"azureuser" in text
    assert b"StdOut" in text
    assert kept(b"") == b""
