"""Proves that the counterparts of the clouds do what the adapters' proofs rely on, by the official clients.

What is asserted of moto is what 5.2.5 really does, gaps included: when a later version closes one, its line in
`clouds/aws.py` has to go.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.testbed.clouds.aws import AwsServer
from tests.testbed.clouds.moto_server import operation, writes


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
