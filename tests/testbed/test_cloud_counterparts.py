"""Proves that the counterparts of the clouds do what the adapters' proofs rely on, by the official clients.

What is asserted of moto is what 5.2.5 really does, gaps included: when a later version closes one, its line in
`clouds/aws.py` has to go.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from botocore.exceptions import ClientError
from google.api_core.exceptions import (
    BadRequest,
    Forbidden,
    InternalServerError,
    NotFound,
    PreconditionFailed,
)
from pydantic import JsonValue

from tests.testbed.clouds.aws import AwsServer
from tests.testbed.clouds.azure import GROUP, AzureFake
from tests.testbed.clouds.azure_shapes import problems
from tests.testbed.clouds.azure_world import SUBSCRIPTION
from tests.testbed.clouds.gcp import REGION, ZONE, GcpFake
from tests.testbed.clouds.gcp_world import PROJECT
from tests.testbed.clouds.judges import CloudJudge, aws_writes, gcp_writes
from tests.testbed.clouds.moto_server import operation, writes
from watchkeeper.adapters.kit import Judge
from watchkeeper.core.actions import Target


def refused(call: Any, **given: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**given)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


class TestAws:
    def test_an_instance_stops_and_starts_and_a_dry_run_does_neither(self, aws: AwsServer) -> None:
        id_, ec2 = aws.ec2_instance(), aws.client("ec2")
        before, effects = aws.judge.fields("ec2_instance", id_), aws.judge.effects()
        assert before["state"] == "running"
        assert refused(ec2.stop_instances, InstanceIds=[id_], DryRun=True) == (412, "DryRunOperation")
        missing = refused(ec2.stop_instances, InstanceIds=["i-00000000000000000"])
        assert missing == (400, "InvalidInstanceID.NotFound")
        assert (aws.judge.fields("ec2_instance", id_), aws.judge.effects()) == (before, effects)
        ec2.stop_instances(InstanceIds=[id_])
        assert aws.judge.fields("ec2_instance", id_)["state"] == "stopped"
        ec2.start_instances(InstanceIds=[id_])
        after = aws.judge.fields("ec2_instance", id_)
        assert after["state"] == "running"
        assert after["launched"] != before["launched"]
        assert aws.judge.journal()[effects:] == ["StopInstances", "StartInstances"]

    def test_a_reboot_leaves_no_trace(self, aws: AwsServer) -> None:
        id_, ec2 = aws.ec2_instance(), aws.client("ec2")
        before = ec2.describe_instances(InstanceIds=[id_])["Reservations"]
        ec2.reboot_instances(InstanceIds=[id_])
        assert ec2.describe_instances(InstanceIds=[id_])["Reservations"] == before
        assert aws.judge.journal()[-1] == "RebootInstances"

    def test_a_started_instance_can_be_kept_from_running(self, aws: AwsServer) -> None:
        id_, ec2 = aws.ec2_instance(), aws.client("ec2")
        ec2.stop_instances(InstanceIds=[id_])
        with aws.judge.stuck("ec2_instance"):
            ec2.start_instances(InstanceIds=[id_])
        assert aws.judge.fields("ec2_instance", id_)["state"] == "pending"

    def test_a_group_keeps_its_bounds_and_replaces_what_is_terminated(self, aws: AwsServer) -> None:
        group, scaling = aws.autoscaling_group(desired=2, most=3), aws.client("autoscaling")
        beyond = refused(scaling.set_desired_capacity, AutoScalingGroupName=group, DesiredCapacity=4)
        assert beyond == (400, "ValidationError")
        scaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=3)
        assert aws.judge.fields("autoscaling_group", group)["in_service"] == 3
        victim = aws.members(group)[0]
        scaling.terminate_instance_in_auto_scaling_group(InstanceId=victim, ShouldDecrementDesiredCapacity=False)
        assert aws.judge.fields("autoscaling_instance", victim)["instance"] is None
        assert aws.judge.fields("autoscaling_group", group)["in_service"] == 3
        with aws.judge.stuck("autoscaling_group"):
            victim = aws.members(group)[0]
            scaling.terminate_instance_in_auto_scaling_group(InstanceId=victim, ShouldDecrementDesiredCapacity=False)
            assert aws.judge.fields("autoscaling_group", group)["in_service"] == 2
        assert aws.judge.fields("autoscaling_group", group)["in_service"] == 3

    def test_another_owner_of_a_size_is_told(self, aws: AwsServer) -> None:
        group, service = aws.autoscaling_group(), aws.ecs_service()
        described = aws.client("autoscaling").describe_policies
        assert described(AutoScalingGroupName=group)["ScalingPolicies"] == []
        policy = aws.scaling_policy(group)
        assert [one["PolicyName"] for one in described(AutoScalingGroupName=group)["ScalingPolicies"]] == [policy]
        resource = aws.scalable_target(service, 1, 5)
        found = aws.client("application-autoscaling").describe_scalable_targets(
            ServiceNamespace="ecs", ResourceIds=[resource]
        )
        assert [one["MaxCapacity"] for one in found["ScalableTargets"]] == [5]

    def test_processes_are_suspended_and_resumed(self, aws: AwsServer) -> None:
        group, scaling = aws.autoscaling_group(), aws.client("autoscaling")
        scaling.suspend_processes(AutoScalingGroupName=group, ScalingProcesses=["AZRebalance", "AlarmNotification"])
        assert aws.judge.fields("autoscaling_group", group)["suspended"] == "AZRebalance,AlarmNotification"
        scaling.resume_processes(AutoScalingGroupName=group, ScalingProcesses=["AZRebalance"])
        assert aws.judge.fields("autoscaling_group", group)["suspended"] == "AlarmNotification"
        aws.judge.write("autoscaling_group", group, {"suspended": None})
        found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0]
        assert found["SuspendedProcesses"] == []

    def test_a_service_is_deployed_again_scaled_and_given_another_definition(self, aws: AwsServer) -> None:
        service, ecs = aws.ecs_service(desired=2), aws.client("ecs")
        cluster, name = service.split("/")
        before = aws.judge.fields("ecs_service", service)
        assert (before["desired"], before["running"]) == (2, 2)
        ecs.update_service(cluster=cluster, service=name, forceNewDeployment=True)
        forced = aws.judge.fields("ecs_service", service)
        assert {path for path in before if before[path] != forced[path]} == {"deployment"}
        definition = aws.task_definition(name)
        with aws.judge.stuck("ecs_service"):
            ecs.update_service(cluster=cluster, service=name, taskDefinition=definition)
        assert aws.judge.fields("ecs_service", service)["running"] == 0
        ecs.update_service(cluster=cluster, service=name, desiredCount=3)
        [found] = ecs.describe_services(cluster=cluster, services=[name])["services"]
        assert (found["taskDefinition"], found["desiredCount"], found["runningCount"]) == (definition, 3, 3)
        [primary] = found["deployments"]
        assert (primary["taskDefinition"], primary["rolloutState"]) == (definition, "COMPLETED")

    def test_the_primary_task_set_moves(self, aws: AwsServer) -> None:
        service, ecs = aws.ecs_service(external=True), aws.client("ecs")
        cluster, name = service.split("/")
        first = aws.judge.fields("ecs_service", service)["primary_task_set"]
        second = aws.task_set(service, aws.task_definition(name))
        ecs.update_service_primary_task_set(cluster=cluster, service=name, primaryTaskSet=second)
        assert aws.judge.fields("ecs_service", service)["primary_task_set"] == second
        aws.judge.write("ecs_service", service, {"primary_task_set": first})
        sets = ecs.describe_task_sets(cluster=cluster, service=name)["taskSets"]
        assert {one["taskSetArn"]: one["status"] for one in sets} == {first: "PRIMARY", second: "ACTIVE"}

    def test_concurrency_is_reserved_and_unset(self, aws: AwsServer) -> None:
        function, client = aws.function(), aws.client("lambda")
        assert aws.judge.fields("lambda_function", function) == {"concurrency": None}
        client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=5)
        assert aws.judge.fields("lambda_function", function) == {"concurrency": 5}
        client.delete_function_concurrency(FunctionName=function)
        assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=function)
        missing = refused(client.put_function_concurrency, FunctionName="none", ReservedConcurrentExecutions=1)
        assert missing == (404, "ResourceNotFoundException")

    def test_an_alias_moves_under_its_revision_alone(self, aws: AwsServer) -> None:
        function, client = aws.function(versions=2), aws.client("lambda")
        alias = f"{function}:live"
        old = aws.judge.fields("lambda_alias", alias)
        given = {"FunctionName": function, "Name": "live"}
        client.update_alias(**given, FunctionVersion="2", RevisionId=old["revision"])
        new = aws.judge.fields("lambda_alias", alias)
        assert (old["version"], new["version"]) == ("1", "2")
        stale = refused(client.update_alias, **given, FunctionVersion="1", RevisionId=old["revision"])
        assert stale == (412, "PreconditionFailedException")
        assert aws.judge.fields("lambda_alias", alias) == new
        assert client.get_alias(**given)["RevisionId"] == new["revision"]
        unknown = refused(client.update_alias, **given, FunctionVersion="9")
        assert unknown[0] == 404

    def test_weights_of_a_listener_are_replaced_in_one_call(self, aws: AwsServer) -> None:
        arn, first, second = aws.listener(90, 10)
        elb = aws.client("elbv2")
        [action] = elb.describe_listeners(ListenerArns=[arn])["Listeners"][0]["DefaultActions"]
        for group in action["ForwardConfig"]["TargetGroups"]:
            group["Weight"] = 100 - group["Weight"]
        elb.modify_listener(ListenerArn=arn, DefaultActions=[action])
        assert aws.judge.fields("elb_listener", arn) == {f"weight:{first}": 10, f"weight:{second}": 90}
        aws.judge.write("elb_listener", arn, {f"weight:{first}": 7})
        [action] = elb.describe_listeners(ListenerArns=[arn])["Listeners"][0]["DefaultActions"]
        assert [group["Weight"] for group in action["ForwardConfig"]["TargetGroups"]] == [7, 90]

    def test_a_node_group_is_resized(self, aws: AwsServer) -> None:
        group, eks = aws.node_group(desired=2), aws.client("eks")
        cluster, name = group.split("/")
        given = {"clusterName": cluster, "nodegroupName": name}
        eks.update_nodegroup_config(**given, scalingConfig={"desiredSize": 4}, clientRequestToken="k1")
        assert aws.judge.fields("eks_nodegroup", group) == {"desired": 4, "min": 1, "max": 5}
        aws.judge.write("eks_nodegroup", group, {"desired": 2})
        eks.update_nodegroup_config(**given, scalingConfig={"desiredSize": 4}, clientRequestToken="k1")
        assert aws.judge.fields("eks_nodegroup", group)["desired"] == 4, "moto ignores the token, AWS does not"

    def test_a_database_reboots_and_says_so_in_its_events(self, aws: AwsServer) -> None:
        name, rds = aws.database(), aws.client("rds")
        assert aws.judge.fields("rds_instance", name) == {"status": "available", "restarted": None}
        rds.reboot_db_instance(DBInstanceIdentifier=name)
        assert aws.judge.fields("rds_instance", name)["restarted"] is not None
        events = rds.describe_events(SourceIdentifier=name, SourceType="db-instance")["Events"]
        assert events[-1]["Message"] == "DB instance restarted"
        with aws.judge.stuck("rds_instance"):
            rds.reboot_db_instance(DBInstanceIdentifier=name)
        assert aws.judge.fields("rds_instance", name)["status"] == "rebooting"
        assert refused(rds.reboot_db_instance, DBInstanceIdentifier=name) == (400, "InvalidDBInstanceState")

    def test_a_command_carries_our_mark(self, aws: AwsServer) -> None:
        id_, document, ssm = aws.ec2_instance(), aws.document(), aws.client("ssm")
        ssm.send_command(InstanceIds=[id_], DocumentName=document, Comment="watchkeeper:k1")
        assert aws.judge.fields("ssm_instance", id_) == {"command:watchkeeper:k1": document}
        [found] = ssm.list_commands(InstanceId=id_)["Commands"]
        assert (found["Comment"], found["Status"]) == ("watchkeeper:k1", "Success")

    def test_permissions_are_told_without_trying_them(self, aws: AwsServer) -> None:
        arn, key, secret = aws.user("ec2:StopInstances", "ec2:Describe*")
        assert aws.client("sts", key, secret).get_caller_identity()["Arn"] == arn
        effects = aws.judge.effects()
        asked = ["ec2:StopInstances", "ec2:DescribeInstances", "rds:RebootDBInstance"]
        found = aws.client("iam").simulate_principal_policy(PolicySourceArn=arn, ActionNames=asked)
        decisions = {one["EvalActionName"]: one["EvalDecision"] for one in found["EvaluationResults"]}
        assert decisions == dict(zip(asked, ["allowed", "allowed", "implicitDeny"], strict=True))
        assert aws.judge.effects() == effects

    def test_permissions_are_held_to(self, aws: AwsServer) -> None:
        id_, (_, key, secret) = aws.ec2_instance(), aws.user("ec2:DescribeInstances", "ecs:DescribeServices")
        effects = aws.judge.effects()
        with aws.enforced():
            ec2 = aws.client("ec2", key, secret)
            assert ec2.describe_instances(InstanceIds=[id_])["Reservations"]
            assert refused(ec2.stop_instances, InstanceIds=[id_]) == (403, "AccessDenied")
            forged = aws.client("ec2", key, "another-secret").describe_instances
            assert refused(forged) == (401, "AuthFailure")
        assert (aws.judge.fields("ec2_instance", id_)["state"], aws.judge.effects()) == ("running", effects)

    @pytest.mark.parametrize(
        ("request_", "name", "write"),
        [
            (("POST", "/", "", b"Action=DescribeInstances&Version=1"), "DescribeInstances", False),
            (("POST", "/", "", b"Action=StopInstances&InstanceId.1=i-1"), "StopInstances", True),
            (("POST", "/", "AmazonSSM.ListCommands", b""), "ListCommands", False),
            (("POST", "/", "AmazonEC2ContainerServiceV20141113.UpdateService", b""), "UpdateService", True),
            (
                ("GET", "/2015-03-31/functions/f/aliases/live", "", b""),
                "GET /2015-03-31/functions/f/aliases/live",
                False,
            ),
            (
                ("PUT", "/2015-03-31/functions/f/aliases/live", "", b""),
                "PUT /2015-03-31/functions/f/aliases/live",
                True,
            ),
        ],
    )
    def test_a_read_is_told_from_a_write(self, request_: tuple[str, str, str, bytes], name: str, write: bool) -> None:
        assert operation(*request_) == name
        assert writes(name) is write
        method, path, target, form = request_
        headers = {"x-amz-target": target, "content-type": "application/x-www-form-urlencoded"}
        assert aws_writes(method, path, headers, form) is write

    async def test_the_kits_judge_reads_and_writes(self, aws: AwsServer) -> None:
        judge: Judge = CloudJudge(aws.judge)
        target = Target(adapter="aws:a", kind="eks_nodegroup", id=aws.node_group(desired=2))
        effects = await judge.effects()
        await judge.write(target, {"desired": 3})
        assert (await judge.fields(target))["desired"] == 3
        assert await judge.effects() == effects


def google(client: str, fake: GcpFake) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import compute_v1

    made, credentials = getattr(compute_v1, f"{client}Client"), cast(Any, AnonymousCredentials)()
    return made(credentials=credentials, client_options={"api_endpoint": fake.url})


def at(id_: str, name: str) -> dict[str, str]:
    """The arguments that name a thing."""
    place, _, found = id_.partition("/")
    scope = {} if place == "global" else {"zone" if place.count("-") == 2 else "region": place}
    return {"project": PROJECT, name: found, **scope}


def finished(fake: GcpFake, operation: Any) -> Any:
    """The operation when it is done. The clients' own futures ask googleapis.com, whatever endpoint was given."""
    scope = "Zone" if operation.zone else "Region" if operation.region else "Global"
    place = {scope.lower(): (operation.zone or operation.region).rsplit("/", 1)[-1]} if scope != "Global" else {}
    asked = {"project": PROJECT, "operation": operation.name, **place}
    found = google(f"{scope}Operations", fake).wait(request=asked)
    assert found.status.name == "DONE"
    return found


class TestGcp:
    def test_an_operation_goes_its_way_and_is_found_by_its_request(self, gcp: GcpFake) -> None:
        id_, instances, operations = gcp.instance(), google("Instances", gcp), google("ZoneOperations", gcp)
        gcp.world.pace = 3
        key = str(uuid4())
        started = instances.stop_unary(request={**at(id_, "instance"), "request_id": key})
        assert started.status.name == "PENDING"
        assert (started.operation_type, started.client_operation_id) == ("stop", key)
        named = {"project": PROJECT, "zone": ZONE, "operation": started.name}
        assert operations.get(request=named).status.name == "RUNNING"
        assert instances.get(request=at(id_, "instance")).status == "STOPPING"
        assert operations.get(request=named).status.name == "DONE"
        found = instances.get(request=at(id_, "instance"))
        assert (found.status, bool(found.last_stop_timestamp)) == ("TERMINATED", True)
        asked = {"project": PROJECT, "zone": ZONE, "filter": f'clientOperationId = "{key}"'}
        assert [one.name for one in operations.list(request=asked)] == [started.name]
        other = {**asked, "filter": f'(operationType = "reset") AND (targetId = "{found.id}")'}
        assert list(operations.list(request=other)) == []

    def test_one_request_id_has_one_effect(self, gcp: GcpFake) -> None:
        id_, instances = gcp.instance(), google("Instances", gcp)
        asked = {**at(id_, "instance"), "request_id": str(uuid4())}
        first, second = (instances.reset_unary(request=asked).name for _ in range(2))
        assert first == second
        assert (gcp.fields("instance", id_)["resets"], gcp.effects()) == (1, 1)
        for wrong in ("not-a-uuid", str(UUID(int=0))):
            with pytest.raises(BadRequest, match="requestId"):
                instances.reset_unary(request={**asked, "request_id": wrong})
        assert gcp.journal == [f"instances.reset projects/{PROJECT}/zones/{id_.replace('/', '/instances/')}"]

    def test_waiting_ends_when_the_operation_is_done_or_held(self, gcp: GcpFake) -> None:
        id_, instances = gcp.instance("TERMINATED"), google("Instances", gcp)
        finished(gcp, instances.start_unary(request=at(id_, "instance")))
        assert gcp.fields("instance", id_)["status"] == "RUNNING"
        started = instances.stop_unary(request=at(id_, "instance"))
        waiting = {"project": PROJECT, "zone": ZONE, "operation": started.name}
        with gcp.held():
            assert google("ZoneOperations", gcp).wait(request=waiting).status.name == "PENDING"
        assert google("ZoneOperations", gcp).wait(request=waiting).status.name == "DONE"

    def test_an_operation_that_fails_changes_nothing(self, gcp: GcpFake) -> None:
        id_, instances = gcp.instance("TERMINATED"), google("Instances", gcp)
        gcp.fail_next()
        ended = finished(gcp, instances.start_unary(request=at(id_, "instance")))
        assert [(one.code, one.message) for one in ended.error.errors] == [
            ("ZONE_RESOURCE_POOL_EXHAUSTED", "no capacity")
        ]
        assert (gcp.fields("instance", id_)["status"], gcp.effects()) == ("TERMINATED", 0)

    def test_errors_have_googles_shape(self, gcp: GcpFake) -> None:
        instances = google("Instances", gcp)
        with pytest.raises(NotFound) as absent:
            instances.get(request=at(f"{ZONE}/none", "instance"))
        assert absent.value.errors[0]["reason"] == "notFound"
        gcp.throttle_next()
        with pytest.raises(Forbidden) as slow:
            instances.get(request=at(gcp.instance(), "instance"))
        assert (slow.value.errors[0]["domain"], slow.value.errors[0]["reason"]) == ("usageLimits", "rateLimitExceeded")
        gcp.token = "a-token"
        refused_ = httpx.get(f"{gcp.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances", trust_env=False)
        assert (refused_.status_code, refused_.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
        stopped = gcp.instance("TERMINATED")
        gcp.token = ""
        with pytest.raises(BadRequest) as unready:
            instances.reset_unary(request=at(stopped, "instance"))
        assert unready.value.errors[0]["reason"] == "resourceNotReady"

    @pytest.mark.parametrize(
        ("method", "path", "write"),
        [
            ("GET", "/compute/v1/projects/p/zones/z/instances/a", False),
            ("POST", "/compute/v1/projects/p/zones/z/instances/a/reset?requestId=1", True),
            ("PATCH", "/compute/v1/projects/p/global/backendServices/a", True),
            ("POST", "/compute/v1/projects/p/zones/z/operations/o/wait", False),
            ("POST", "/compute/v1/projects/p/zones/z/instanceGroupManagers/g/listManagedInstances", False),
            ("POST", "/v3/projects/p:testIamPermissions", False),
        ],
    )
    def test_a_read_is_told_from_a_write(self, method: str, path: str, write: bool) -> None:
        assert gcp_writes(method, path, {}, b"") is write

    @pytest.mark.parametrize("place", [ZONE, REGION])
    def test_a_group_is_resized_and_comes_to_its_size_later(self, gcp: GcpFake, place: str) -> None:
        group = gcp.group(2, place)
        client = google("InstanceGroupManagers" if place == ZONE else "RegionInstanceGroupManagers", gcp)
        named = at(group, "instance_group_manager")
        with gcp.stuck():
            finished(gcp, client.resize_unary(request={**named, "size": 4}))
            found = client.get(request=named)
            assert (found.target_size, found.status.is_stable, found.current_actions.creating) == (4, False, 2)
        assert gcp.fields("instance_group", group) == {"target_size": 4, "size": 4, "stable": True}
        gcp.write("instance_group", group, {"target_size": 1})
        listed = client.list(request={key: value for key, value in named.items() if key != "instance_group_manager"})
        assert [one.target_size for one in listed] == [1]
        assert len(gcp.managed_instances(group)) == 1

    @pytest.mark.parametrize("place", [ZONE, REGION])
    def test_an_instance_of_a_group_is_made_anew(self, gcp: GcpFake, place: str) -> None:
        group = gcp.group(2, place)
        first, second = gcp.managed_instances(group)
        zonal = place == ZONE
        client = google("InstanceGroupManagers" if zonal else "RegionInstanceGroupManagers", gcp)
        body = (
            "instance_group_managers_recreate_instances_request"
            if zonal
            else "region_instance_group_managers_recreate_request"
        )
        named = at(group, "instance_group_manager")
        zone = ZONE if zonal else f"{REGION}-a"
        before = {one: gcp.fields("managed_instance", one)["id"] for one in (first, second)}
        victims = {"instances": [f"zones/{zone}/instances/{first.rsplit('/', 1)[-1]}"]}
        with gcp.stuck():
            finished(gcp, client.recreate_instances_unary(request={**named, f"{body}_resource": victims}))
            actions = {str(one.id): one.current_action for one in client.list_managed_instances(request=named)}
            assert actions == {before[first]: "RECREATING", before[second]: "NONE"}
        assert gcp.fields("managed_instance", first)["id"] != before[first]
        assert gcp.fields("managed_instance", second)["id"] == before[second]
        with pytest.raises(BadRequest, match="not a member"):
            client.recreate_instances_unary(
                request={**named, f"{body}_resource": {"instances": [f"zones/{zone}/instances/none"]}}
            )

    @pytest.mark.parametrize("place", ["global", REGION])
    def test_traffic_moves_under_the_fingerprint_alone(self, gcp: GcpFake, place: str) -> None:
        first, second = gcp.group(1), gcp.group(1)
        id_ = gcp.backend_service({first: 1.0, second: 0.5}, place)
        client = google("BackendServices" if place == "global" else "RegionBackendServices", gcp)
        named = at(id_, "backend_service")
        found = client.get(request=named)
        backends = list(found.backends)
        backends[0].capacity_scaler = 0.0
        change = {"backends": backends, "fingerprint": found.fingerprint}
        finished(gcp, client.patch_unary(request={**named, "backend_service_resource": change}))
        names = [f"capacity:{one.partition('/')[2]}" for one in (first, second)]
        assert gcp.fields("backend_service", id_) == {names[0]: 0.0, names[1]: 0.5}
        with pytest.raises(PreconditionFailed) as stale:
            client.patch_unary(request={**named, "backend_service_resource": change})
        assert stale.value.errors[0]["reason"] == "conditionNotMet"
        backends[0].capacity_scaler = 0.05
        with pytest.raises(BadRequest, match="capacityScaler"):
            client.patch_unary(request={**named, "backend_service_resource": {"backends": backends}})

    def test_an_autoscaler_keeps_its_group_within_bounds(self, gcp: GcpFake) -> None:
        group = gcp.autoscaler(gcp.group(2), least=1, most=5)
        client = google("Autoscalers", gcp)
        name = group.partition("/")[2]
        asked = {"project": PROJECT, "zone": ZONE, "autoscaler": name}
        change = {"autoscaler_resource": {"autoscaling_policy": {"min_num_replicas": 3}}}
        finished(gcp, client.patch_unary(request={**asked, **change}))
        assert gcp.fields("autoscaler", group) == {"min": 3, "max": 5, "mode": "ON"}
        assert gcp.fields("instance_group", group)["target_size"] == 3
        owned = google("InstanceGroupManagers", gcp).get(request=at(group, "instance_group_manager"))
        assert owned.status.autoscaler.endswith(f"/autoscalers/{name}")

    def test_permissions_are_held_to_and_told(self, gcp: GcpFake) -> None:
        id_, instances = gcp.instance(), google("Instances", gcp)
        gcp.granted = frozenset({"compute.instances.get"})
        assert instances.get(request=at(id_, "instance")).status == "RUNNING"
        with pytest.raises(Forbidden, match=r"Required 'compute\.instances\.reset' permission"):
            instances.reset_unary(request=at(id_, "instance"))
        asked = {"permissions": ["compute.instances.get", "compute.instances.reset"]}
        told = httpx.post(f"{gcp.url}/v3/projects/{PROJECT}:testIamPermissions", json=asked, trust_env=False)
        assert told.json() == {"permissions": ["compute.instances.get"]}
        resource = {"project": PROJECT, "zone": ZONE, "resource": id_.partition("/")[2]}
        one = instances.test_iam_permissions(request={**resource, "test_permissions_request_resource": asked})
        assert list(one.permissions) == ["compute.instances.get"]
        assert gcp.effects() == 0

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"backends": [{"capacityScalar": 1}]}, "$.backends[0].capacityScalar: unknown"),
            ({"backends": [{"capacityScaler": "1"}]}, "$.backends[0].capacityScaler: number expected, not str"),
            ({"timeoutSec": 1 << 31}, "$.timeoutSec: 2147483648 is no int32"),
            ({"id": 5}, "$.id: string expected, not int"),
            ({"fingerprint": "*"}, "$.fingerprint: '*' is not base64"),
            ({"protocol": "SMTP"}, "$.protocol: 'SMTP' is none of"),
        ],
    )
    def test_a_wrong_field_is_found_with_its_path(self, gcp: GcpFake, body: dict[str, Any], problem: str) -> None:
        id_ = gcp.backend_service({gcp.group(1): 1.0})
        url = f"{gcp.url}/compute/v1/projects/{PROJECT}/global/backendServices/{id_.partition('/')[2]}"
        reply = httpx.patch(url, json=body, trust_env=False)
        assert reply.status_code == 400
        assert problem in reply.json()["error"]["message"]
        assert gcp.effects() == 0

    def test_a_wrong_reply_of_the_fake_is_found(self, gcp: GcpFake) -> None:
        id_ = gcp.instance()
        gcp.world.things[f"projects/{PROJECT}/zones/{id_.replace('/', '/instances/')}"]["status"] = "ASLEEP"
        with pytest.raises(InternalServerError):
            google("Instances", gcp).get(request=at(id_, "instance"), retry=None)
        [found] = gcp.broken
        assert found.startswith("compute.instances.get $.status: 'ASLEEP' is none of")
        gcp.broken.clear()


def compute(fake: AzureFake) -> Any:
    """The official client, without its retries; the token goes in as it does over TLS."""
    from azure.core.pipeline.policies import HeadersPolicy
    from azure.mgmt.compute import ComputeManagementClient

    class Nobody:
        def get_token(self, *scopes: str, **options: Any) -> Any:
            raise AssertionError("the headers bear the token")

    return ComputeManagementClient(
        Nobody(),
        SUBSCRIPTION,
        base_url=fake.url,
        authentication_policy=HeadersPolicy({"Authorization": f"Bearer {fake.token}"}),
        retry_total=0,
        polling_interval=0,
    )


def code(error: HttpResponseError) -> tuple[int | None, str | None]:
    assert error.error is not None
    return error.status_code, error.error.code


class TestAzure:
    @pytest.mark.parametrize(
        ("action", "before", "between", "after"),
        [
            ("begin_restart", "running", "starting", "running"),
            ("begin_deallocate", "running", "deallocating", "deallocated"),
            ("begin_power_off", "running", "stopping", "stopped"),
            ("begin_start", "deallocated", "starting", "running"),
            ("begin_redeploy", "running", "starting", "running"),
        ],
    )
    def test_an_action_is_taken_and_polled_to_its_end(
        self, azure: AzureFake, action: str, before: str, between: str, after: str
    ) -> None:
        id_, machines = azure.vm(before), compute(azure).virtual_machines
        name, was = id_.partition("/")[2], azure.fields("vm", id_)
        with azure.held():
            poller = getattr(machines, action)(GROUP, name)
            view = machines.instance_view(GROUP, name)
            assert [one.code for one in view.statuses] == ["ProvisioningState/updating", f"PowerState/{between}"]
        poller.result(timeout=20)
        view = machines.get(GROUP, name, expand="instanceView").properties.instance_view
        assert view.statuses[1].code == f"PowerState/{after}"
        assert view.statuses[0].time.isoformat() == azure.fields("vm", id_)["provisioned_at"] != was["provisioned_at"]
        [entry] = azure.journal
        assert entry.endswith(f"/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}")

    def test_both_ways_to_poll_agree(self, azure: AzureFake) -> None:
        id_ = azure.vm()
        path = f"/subscriptions/{SUBSCRIPTION}/resourcegroups/{GROUP.upper()}/providers/Microsoft.Compute"
        action = f"{azure.url}{path}/virtualMachines/{id_.partition('/')[2]}/restart"
        azure.world.pace = 3
        with httpx.Client(trust_env=False) as http:
            taken = http.post(action, params={"api-version": "2026-04-01"})
            assert (taken.status_code, taken.content) == (202, b"")
            location, status = taken.headers["Location"], taken.headers["Azure-AsyncOperation"]
            assert http.get(location).status_code == 202
            assert http.get(status).json()["status"] == "InProgress"
            assert http.get(location).status_code == 200
            assert http.get(status).json()["status"] == "Succeeded"

    def test_an_operation_that_fails_changes_nothing(self, azure: AzureFake) -> None:
        id_, machines = azure.vm("deallocated"), compute(azure).virtual_machines
        azure.fail_next()
        with pytest.raises(HttpResponseError, match="no capacity"):
            machines.begin_start(GROUP, id_.partition("/")[2]).result(timeout=20)
        found = azure.fields("vm", id_)
        assert (found["power"], found["provisioning"], azure.effects()) == ("deallocated", "Failed", 0)

    def test_a_scale_set_is_resized_under_its_etag_alone(self, azure: AzureFake) -> None:
        id_, sets = azure.scale_set(2), compute(azure).virtual_machine_scale_sets
        name = id_.partition("/")[2]
        found = sets.get(GROUP, name)
        given = {"sku": {"capacity": 4}}
        same = {"etag": found.etag.strip('"'), "match_condition": MatchConditions.IfNotModified}
        updated = sets.begin_update(GROUP, name, given, **same).result(timeout=20)
        assert (updated.sku.capacity, updated.etag != found.etag) == (4, True)
        assert azure.fields("scale_set", id_) == {"capacity": 4, "size": 4, "provisioning": "Succeeded"}
        with pytest.raises(ResourceModifiedError) as stale:
            sets.begin_update(GROUP, name, {"sku": {"capacity": 9}}, **same)
        assert code(stale.value) == (412, "ConditionNotMet")
        azure.write("scale_set", id_, {"capacity": 1})
        assert sets.get(GROUP, name).sku.capacity == 1
        assert (len(azure.scale_set_vms(id_)), azure.effects()) == (1, 1)
        with pytest.raises(HttpResponseError, match=r"\$\.sku\.capacities: unknown"):
            sets.begin_update(GROUP, name, {"sku": {"capacities": 4}})

    def test_another_owner_of_a_size_is_told(self, azure: AzureFake) -> None:
        name = azure.autoscale(azure.scale_set())
        scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Insights/autoscaleSettings"
        found = httpx.get(f"{azure.url}{scope}", params={"api-version": "2022-10-01"}, trust_env=False).json()
        [setting] = found["value"]
        target = compute(azure).virtual_machine_scale_sets.list(GROUP)
        assert (setting["name"], setting["properties"]["targetResourceUri"]) == (name, next(iter(target)).id)

    @pytest.mark.parametrize("action", ["restart", "reimage"])
    def test_one_machine_of_a_scale_set_is_done_again(self, azure: AzureFake, action: str) -> None:
        id_, client = azure.scale_set(2), compute(azure)
        first, second = azure.scale_set_vms(id_)
        was = {one: azure.fields("scale_set_vm", one) for one in (first, second)}
        _, name, number = first.split("/")
        getattr(client.virtual_machine_scale_set_vms, f"begin_{action}")(GROUP, name, number).result(timeout=20)
        now = azure.fields("scale_set_vm", first)
        assert (now[f"done:{action}"], now["provisioned_at"] != was[first]["provisioned_at"]) == (1, True)
        assert azure.fields("scale_set_vm", second) == was[second]
        listed = client.virtual_machine_scale_set_vms.list(GROUP, name, expand="instanceView")
        assert [one.instance_id for one in listed] == [number, second.rsplit("/", 1)[-1]]
        view = client.virtual_machine_scale_set_vms.get_instance_view(GROUP, name, number)
        assert view.statuses[0].time.isoformat() == now["provisioned_at"]

    def test_errors_have_arms_shape(self, azure: AzureFake) -> None:
        id_, machines = azure.vm("deallocated"), compute(azure).virtual_machines
        name = id_.partition("/")[2]
        with pytest.raises(ResourceNotFoundError) as absent:
            machines.get(GROUP, "none")
        assert code(absent.value) == (404, "ResourceNotFound")
        with pytest.raises(HttpResponseError) as stopped:
            machines.begin_restart(GROUP, name)
        assert code(stopped.value) == (409, "OperationNotAllowed")
        azure.throttle_next(retry_after_s=7)
        with pytest.raises(HttpResponseError) as slow:
            machines.get(GROUP, name)
        assert code(slow.value) == (429, "OperationNotAllowed")
        headers = cast(Any, slow.value.response).headers
        assert headers["Retry-After"] == "7"
        assert "UpdateVM3Min;0" in headers["x-ms-ratelimit-remaining-resource"]
        azure.token = "a-token"
        with pytest.raises(HttpResponseError) as unknown:
            machines.get(GROUP, name)
        assert code(unknown.value) == (401, "InvalidAuthenticationToken")
        assert compute(azure).virtual_machines.get(GROUP, name).name == name
        assert azure.effects() == 0

    def test_permissions_are_held_to_and_told(self, azure: AzureFake) -> None:
        id_, machines = azure.vm(), compute(azure).virtual_machines
        azure.granted = ("Microsoft.Compute/*/read", "Microsoft.Authorization/permissions/read")
        others, azure.page = {azure.vm() for _ in range(4)}, 2
        assert {f"{GROUP}/{one.name}" for one in machines.list(GROUP)} == {id_, *others}
        with pytest.raises(HttpResponseError, match=r"Microsoft\.Compute/virtualMachines/restart/action") as refused_:
            machines.begin_restart(GROUP, id_.partition("/")[2])
        assert code(refused_.value) == (403, "AuthorizationFailed")
        scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
        url = f"{azure.url}{scope}/providers/Microsoft.Authorization/permissions"
        told = httpx.get(url, params={"api-version": "2022-04-01"}, trust_env=False).json()
        assert told == {"value": [{"actions": list(azure.granted), "notActions": []}]}
        assert azure.effects() == 0

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"location": "x", "properties": {"vmID": "1"}}, "$.properties.vmID: unknown"),
            ({"location": 1}, "$.location: str expected, not int"),
            ({}, "$.location: missing"),
            (
                {"location": "x", "properties": {"instanceView": {"statuses": [{"time": "noon"}]}}},
                "$.properties.instanceView.statuses[0].time: 'noon' is no date-time",
            ),
            (
                {"location": "x", "properties": {"instanceView": {"statuses": [{"level": "Loud"}]}}},
                "$.properties.instanceView.statuses[0].level: 'Loud' is none of Info, Warning, Error",
            ),
        ],
    )
    def test_a_wrong_field_is_found_with_its_path(self, body: JsonValue, problem: str) -> None:
        assert problems("VirtualMachine", body) == [problem]
