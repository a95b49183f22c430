"""Compute Engine's things as fields, changes as calls, and what becomes of an operation that Google has only taken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
import yaml
from tests.adapters.gcp.suite import NAME, TOKEN, action, gcp_adapter, generated_role
from tests.testbed.clouds.gcp import REGION, ZONE, GcpFake
from tests.testbed.clouds.gcp_world import LINK
from tests.testbed.clouds.jsonserver import Reply, Request

from watchkeeper.adapters.change import partial
from watchkeeper.adapters.contract import EffectResult, Grip, Happened
from watchkeeper.adapters.gcp.adapter import GcpAdapter
from watchkeeper.adapters.gcp.capabilities import CAPABILITIES
from watchkeeper.adapters.gcp.client import JsonObject
from watchkeeper.adapters.gcp.dialect import GCP, error_code, kept
from watchkeeper.adapters.gcp.fields import backend_fields, instance_fields, member_fields, reset_fields
from watchkeeper.adapters.gcp.permissions import grants
from watchkeeper.adapters.gcp.places import place_of, short
from watchkeeper.adapters.gcp.writes import request_id
from watchkeeper.adapters.kit import CLAIM, INCIDENT, KitSink, sure
from watchkeeper.adapters.recorder import under
from watchkeeper.core.actions import Change, FieldState, Intent, Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import AdapterError, InputError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect

KEY = ActionKey("pln_a/0/apply")


@asynccontextmanager
async def adapter(gcp: GcpFake) -> AsyncIterator[GcpAdapter]:
    gcp.token = TOKEN
    async with gcp_adapter(gcp.url, KitSink(), ManualClock()) as made:
        yield made


async def apply(made: GcpAdapter, change: Change, key: ActionKey = KEY) -> EffectResult:
    with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
        return await made.apply(change, key, ManualClock().now() + timedelta(seconds=5))


def by_path(fields: tuple[FieldState, ...]) -> dict[str, FieldState]:
    return {field.path: field for field in fields}


class TestOperations:
    async def test_what_google_has_taken_and_not_begun_is_no_no(self, gcp: GcpFake) -> None:
        async with adapter(gcp) as made:
            change = await made.dry_run(action(Intent.STOP, "instance", gcp.instance()))
            with gcp.held():
                assert (await apply(made, change)).effect is Effect.SUCCEEDED
                assert (await made.observe(change, KEY)).happened is Happened.UNKNOWN
                assert (await made.observe(change, ActionKey("pln_other/0/apply"))).happened is Happened.NO
            await made.observe(change, KEY)
            assert (await made.observe(change, KEY)).happened is Happened.YES

    async def test_invariant_4_another_process_with_the_same_key_does_nothing_again(self, gcp: GcpFake) -> None:
        async with adapter(gcp) as first, adapter(gcp) as second:
            change = await first.dry_run(action(Intent.STOP, "instance", gcp.instance()))
            with gcp.held():
                for made in (first, second):
                    assert (await apply(made, change)).effect is Effect.SUCCEEDED
            assert gcp.effects() == 1

    async def test_a_reset_that_failed_did_not_happen(self, gcp: GcpFake) -> None:
        async with adapter(gcp) as made:
            change = await made.dry_run(action(Intent.RESTART, "instance", gcp.instance()))
            gcp.fail_next("INTERNAL_ERROR", "broken")
            await apply(made, change)
            gcp.world.settle()
            seen = await made.observe(change, KEY)
            assert (seen.happened, seen.restored) == (Happened.NO, False)

    async def test_a_reset_that_is_forgotten_is_no_sign_of_another(self, gcp: GcpFake) -> None:
        id_ = gcp.instance()
        async with adapter(gcp) as made:
            await apply(made, await made.dry_run(action(Intent.RESTART, "instance", id_)))
            gcp.world.settle()
            change = await made.dry_run(action(Intent.RESTART, "instance", id_))
            assert change.fields[0].before == next(iter(gcp.world.operations)).rsplit("/", 1)[-1]
            gcp.world.operations.clear()
            seen = await made.observe(change, ActionKey("pln_b/0/apply"))
            assert (seen.happened, seen.restored) == (Happened.NO, False)

    def test_a_request_id_is_a_uuid_of_the_key_alone(self) -> None:
        assert request_id(KEY) == request_id(ActionKey("pln_a/0/apply")) != request_id(ActionKey("pln_a/1/apply"))
        assert UUID(request_id(KEY)).version == 5


class TestTelling:
    async def test_too_many_calls_are_waited_for_though_google_says_403(self, gcp: GcpFake) -> None:
        async with adapter(gcp) as made:
            gcp.throttle_next()
            with pytest.raises(AdapterError) as caught:
                await made.inspect(Target(adapter=NAME, kind="instance", id=gcp.instance()))
            assert caught.value.retryable
            assert (caught.value.retry_after_s or 0) > 0

    async def test_permissions_are_told(self, gcp: GcpFake) -> None:
        gcp.granted = generated_role() - {"compute.instances.reset"}
        asked = ("compute.instances.reset", "compute.instances.get")
        async with adapter(gcp) as made:
            found = {each.permission: each.grip for each in await made.permitted(asked)}
        assert found == {asked[0]: Grip.MISSING, asked[1]: Grip.GRANTED}
        assert gcp.effects() == 0

    async def test_who_may_not_ask_what_it_may_does_not_know(self, gcp: GcpFake) -> None:
        async with adapter(gcp) as made:
            gcp.refuse_next(403, "SERVICE_DISABLED", "Cloud Resource Manager API has not been used in project 1 before")
            assert [each.grip for each in await made.permitted(("compute.instances.get",))] == [Grip.UNKNOWN]

    async def test_how_many_there_are_is_counted_over_all_pages(self, gcp: GcpFake) -> None:
        group = gcp.group(3)
        async with adapter(gcp) as made:
            target = Target(adapter=NAME, kind="managed_instance", id=gcp.managed_instances(group)[0])
            assert (await made.inspect(target)).population == 3

    @pytest.mark.parametrize(("mode", "owner"), [("ON", "autoscaler"), ("ONLY_SCALE_OUT", "autoscaler"), ("OFF", "")])
    @pytest.mark.parametrize("place", [ZONE, REGION])
    async def test_an_autoscaler_owns_the_size_while_it_is_on(
        self, gcp: GcpFake, place: str, mode: str, owner: str
    ) -> None:
        group = gcp.autoscaler(gcp.group(2, place), mode=mode)
        async with adapter(gcp) as made:
            state = await made.inspect(Target(adapter=NAME, kind="instance_group", id=group))
        assert [(field.path, field.value, field.owner) for field in state.fields] == [("replicas", 2, owner)]

    async def test_a_group_grows_by_so_many_but_not_beyond(self, gcp: GcpFake) -> None:
        group = gcp.group(3)
        async with adapter(gcp) as made:
            changes = [
                await made.dry_run(action(Intent.SCALE, "instance_group", group, add=add, at_most=4)) for add in (1, 9)
            ]
            found = await made.precheck(action(Intent.SCALE, "instance_group", group, add=1, replicas=2))
        assert [[(f.before, f.after) for f in each.fields] for each in changes] == [[(3, 4)], [(3, 4)]]
        assert [problem.code for problem in found.problems] == ["bad_parameters"]

    async def test_a_node_pools_size_is_gkes(self, gcp: GcpFake) -> None:
        group = gcp.group(1)
        for thing in gcp.world.things.values():
            if thing["kind"] == "compute#instanceGroupManager":
                thing["baseInstanceName"] = "gke-shop-pool-1"
        async with adapter(gcp) as made:
            state = await made.inspect(Target(adapter=NAME, kind="instance_group", id=group))
        assert state.fields[0].owner == "gke"


class Newer(GcpFake):
    """A Google that has given backends a field which our library does not know."""

    def answer(self, request: Request) -> Reply:
        reply = super().answer(request)
        if request.method == "GET" and "/backendServices/" in request.path and isinstance(reply.body, dict):
            reply.body["backends"] = [{**one, "fromTheFuture": 1} for one in reply.body["backends"]]  # type: ignore[union-attr, dict-item]
        return reply


async def test_a_list_is_not_written_back_without_what_we_do_not_know_of_it() -> None:
    with Newer() as gcp:
        group = gcp.group(1)
        target = gcp.backend_service({group: 1.0, gcp.group(1): 1.0})
        async with adapter(gcp) as made:
            change = await made.dry_run(
                action(Intent.SHIFT_TRAFFIC, "backend_service", target, backend=group, capacity=0)
            )
            with pytest.raises(AdapterError, match="ParseError"):
                await apply(made, change)
        assert gcp.effects() == 0


@pytest.mark.parametrize("former", [1.0, 0.7, 0.3])
async def test_a_capacity_is_given_back_in_steps_that_google_can_keep(gcp: GcpFake, former: float) -> None:
    """A third has no end of digits, a small part is less than Google takes: neither looks like somebody else's."""
    group = gcp.group(1)
    target = gcp.backend_service({group: former, gcp.group(1): 1.0})
    async with adapter(gcp) as made:
        drained = await made.dry_run(action(Intent.SHIFT_TRAFFIC, "backend_service", target, backend=group, capacity=0))
        await apply(made, drained)
        for n, (now, then) in enumerate([(0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)]):
            step, key = partial(drained, now, then), ActionKey(f"pln_a/0/release/{n}")
            assert (await apply(made, step, key)).code == "http_200"
            assert (await made.observe(step, key)).happened is Happened.YES
            assert (await apply(made, step, key)).code == "already_done"
    assert gcp.fields("backend_service", target)[f"capacity:{group.partition('/')[2]}"] == former


@pytest.mark.parametrize(
    ("kind", "id_"),
    [
        ("instance", "vm-1"),
        ("instance", "us-central1/vm-1"),
        ("instance", "us-central1-a/vm-1/x"),
        ("instance", "us-central1-a/../x"),
        ("instance", "global/vm-1"),
        ("managed_instance", "us-central1-a/vm-1"),
        ("backend_service", "us-central1-a/web"),
        ("disk", "us-central1-a/d"),
    ],
)
def test_an_id_that_can_name_nothing_is_refused(kind: str, id_: str) -> None:
    with pytest.raises(InputError):
        place_of(Target(adapter=NAME, kind=kind, id=id_))


def test_places_are_named_as_the_api_wants_them() -> None:
    place = place_of(Target(adapter=NAME, kind="managed_instance", id="europe-west12/web/web-x1"))
    assert (place.service, place.operations) == ("RegionInstanceGroupManagers", "RegionOperations")
    assert place.named() == {"region": "europe-west12", "instance_group_manager": "web"}
    assert place_of(Target(adapter=NAME, kind="instance", id="us-south1-ai1b/a")).scope == "zone"
    assert short(f"{LINK}projects/p/zones/us-central1-a/instanceGroups/web") == "us-central1-a/web"
    assert short(f"{LINK}projects/p/global/networkEndpointGroups/neg") == "global/neg"


@pytest.mark.parametrize(
    ("status", "power", "manageable"),
    [
        ("STAGING", "running", True),
        ("RUNNING", "running", True),
        ("STOPPING", "stopped", True),
        ("TERMINATED", "stopped", True),
        ("SUSPENDED", "suspended", False),
        ("REPAIRING", "repairing", False),
    ],
)
def test_a_state_between_two_counts_as_the_one_it_leads_to(status: str, power: str, manageable: bool) -> None:
    found = by_path(instance_fields({"status": status}))
    assert (found["power"].value, found["power"].manageable) == (power, manageable)
    assert found["up"].value is (status == "RUNNING")


def test_who_would_start_an_instance_again_owns_its_power() -> None:
    group: JsonObject = {"key": "created-by", "value": "projects/1/zones/z/instanceGroupManagers/web"}
    nodes: JsonObject = {"status": "RUNNING", "labels": {"goog-gke-node": ""}}
    assert by_path(instance_fields(nodes))["power"].owner == "gke"
    assert (
        by_path(instance_fields({"status": "RUNNING", "metadata": {"items": [group]}}))["power"].owner
        == "instance_group"
    )
    assert by_path(instance_fields({"status": "RUNNING", "metadata": {"items": []}}))["power"].owner == ""


def test_the_last_good_reset_is_the_mark() -> None:
    first: JsonObject = {"name": "op-1", "insertTime": "2026-01-01T00:00:00.001-08:00", "status": "DONE"}
    later: JsonObject = {"name": "op-2", "insertTime": "2026-01-02T00:00:00.001-08:00", "status": "RUNNING"}
    bad: JsonObject = {"name": "op-3", "insertTime": "2026-01-03", "status": "DONE", "error": {"errors": []}}
    found = by_path(reset_fields([later, first, bad]))
    assert (found["last_reset"].value, found["resetting"].value) == ("op-2", True)
    assert by_path(reset_fields([]))["last_reset"].value == "never"


def test_an_instance_that_is_made_anew_has_no_id_though_it_is_still_there() -> None:
    going: JsonObject = {"id": "7", "currentAction": "RECREATING", "instanceStatus": "STOPPING"}
    there: JsonObject = {"id": "8", "currentAction": "NONE", "instanceStatus": "RUNNING"}
    assert [(f.path, f.value) for f in member_fields(going)] == [("instance_id", None), ("up", False)]
    assert [(f.path, f.value) for f in member_fields(there)] == [("instance_id", "8"), ("up", True)]


def test_a_backend_without_a_capacity_of_its_own_cannot_be_managed() -> None:
    web, neg = (
        f"{LINK}projects/p/zones/z-1a/instanceGroups/web",
        f"{LINK}projects/p/regions/z-1/networkEndpointGroups/run",
    )
    rows: JsonObject = {"backends": [{"group": web, "capacityScaler": 0.3}, {"group": neg}]}
    found = backend_fields(rows)
    assert [(f.path, f.value, f.why) for f in found] == [
        ("capacity:z-1a/web", 0.3, ""),
        ("capacity:z-1/run", None, "no_capacity"),
    ]
    twice = backend_fields({"backends": [{"group": web, "capacityScaler": 1}] * 2})
    assert {field.why for field in twice} == {"two_backends"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": 403, "errors": [{"reason": "rateLimitExceeded", "domain": "usageLimits"}]}, "rateLimitExceeded"),
        ({"code": 403, "status": "PERMISSION_DENIED", "details": [{"reason": "SERVICE_DISABLED"}]}, "SERVICE_DISABLED"),
        ({"code": 404, "status": "NOT_FOUND"}, "NOT_FOUND"),
        ({"errors": [{"reason": "two words"}]}, ""),
        ("text", ""),
    ],
)
def test_googles_word_for_an_error_is_found(error: object, code: str) -> None:
    assert error_code(json.dumps({"error": error}).encode()) == code
    assert error_code(b"<html>") == ""


def test_a_quota_that_is_used_up_is_no_wish_to_be_left_alone() -> None:
    assert GCP.throttled(403, {}, "rateLimitExceeded")
    assert GCP.throttled(403, {}, "RATE_LIMIT_EXCEEDED")
    assert not GCP.throttled(403, {}, "quotaExceeded")
    assert not GCP.throttled(403, {}, "forbidden")


def test_what_an_instance_starts_with_is_not_recorded() -> None:
    items = [{"key": "startup-script", "value": "export KEY=s3cret"}]
    for found in ({"metadata": {"items": items}}, {"items": [{"name": "a", "metadata": {"items": items}}]}):
        text = kept(json.dumps(found).encode())
        assert b"s3cret" not in text
        assert b"startup-script" in text
    assert kept(b"<html>") == b"<html>"


def test_a_role_holds_what_the_capabilities_need_and_no_more() -> None:
    resets = [each for each in CAPABILITIES if each.intent is Intent.RESTART]
    (role,) = grants(resets)
    assert yaml.safe_load(role.text)["includedPermissions"] == [
        "compute.instances.get",
        "compute.instances.list",
        "compute.instances.reset",
        "compute.zoneOperations.list",
    ]
    assert grants([]) == ()
