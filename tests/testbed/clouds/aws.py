"""AWS for the adapter: moto with the things that an adapter acts on, and a judge that does not speak AWS.

What can be proven on it, call by call (moto 5.2.5). After "Not": what differs from AWS, or is ours (`moto_gaps.py`),
so that a proof of it is a proof against a fake.

- EC2 StopInstances, StartInstances: state, previous state, InvalidInstanceID.NotFound, DryRun (412 DryRunOperation).
  Not: at once, no `stopping`/`pending` between; LaunchTime is ours; wrong state is never refused.
- EC2 RebootInstances: accepted, unknown ids refused. Not: nothing shows afterwards that it happened; that is so at
  AWS too, outside of CloudTrail.
- ASG SetDesiredCapacity: launches and terminates real moto instances. Not: bounds are ours; no cool-down, no
  ScalingActivityInProgress; `Launch` suspended still launches.
- ASG TerminateInstanceInAutoScalingGroup: the instance goes, another takes its place. Not: at once; no
  `Terminating:Wait`; the activity is not kept.
- ASG SuspendProcesses, ResumeProcesses: the list of suspended processes. Not: that they are suspended has no effect.
- ASG StartInstanceRefresh: nothing. Not: not implemented (404 of moto).
- ECS UpdateService count, task definition, force: counts, task definition, a new deployment id on force. Not: one
  deployment, no draining one beside it; a task definition deploys, the counts of the deployment and the roll-out
  state are ours; a family without a revision stays as it was written.
- ECS UpdateServicePrimaryTaskSet: PRIMARY moves, by the ARN. Not: by the short id; task sets hold no tasks; any
  service takes it, not only EXTERNAL ones.
- Lambda Put/Get/DeleteFunctionConcurrency: the value, unset, unknown functions (404). Not: the account's 100
  unreserved are not checked.
- Lambda UpdateAlias: version, unknown versions refused. Not: RevisionId's check and move are ours; routing weights
  are not checked.
- ELBv2 ModifyListener weights: weights of the whole forward action, replaced in one call. Not: they route nothing;
  0..999 is not checked; unknown target groups are taken.
- EKS UpdateNodegroupConfig: sizes. Not: at once (`InProgress` is said, DescribeUpdate is missing); min <= desired <=
  max is not checked; clientRequestToken is ignored.
- RDS RebootDBInstance: unknown ids refused. Not: the event and InvalidDBInstanceState are ours; `rebooting` is
  skipped unless stuck.
- SSM SendCommand: the command with its comment, ListCommands. Not: nothing runs, it is `Success` at once; unknown
  documents and instances are taken; Automation is not implemented.
- Auto Scaling's policies and Application Auto Scaling's targets: kept and described. Not: they scale nothing.
- IAM SimulatePrincipalPolicy: moto's evaluator, also used where it enforces IAM. Not: the call is ours.
- throttling: nothing. Not: moto never throttles, and answers unsigned and expired calls: the fault proxy's part.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from tests.testbed.clouds.moto_server import moto_server
from watchkeeper.core.model import Scalar

REGION = "us-east-1"
_NAMES = count(1)


class AwsJudge:
    """Reads and writes moto's memory; kinds and fields are those of `moto_judge.py`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        found: dict[str, Scalar] = self._ask("fields", kind=kind, id=id_)
        return found

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        self._ask("write", kind=kind, id=id_, values=dict(values))

    def effects(self) -> int:
        return len(self.journal())

    def journal(self) -> list[str]:
        """The operations that changed something and were carried out, in order."""
        found: list[str] = self._ask("journal")
        return found

    @contextmanager
    def stuck(self, kind: str) -> Iterator[None]:
        """Things of this kind do not come back inside the block."""
        self._ask("stuck", kind=kind, on=True)
        try:
            yield
        finally:
            self._ask("stuck", kind=kind, on=False)

    def enforce(self, on: bool) -> None:
        self._http.post("/moto-api/reset-auth", content="0" if on else "inf").raise_for_status()

    def _ask(self, what: str, **given: object) -> Any:
        reply = self._http.post(f"/_testbed/{what}", json=given)
        if reply.status_code == 404:
            raise LookupError(reply.text)
        return reply.raise_for_status().json()


@dataclass(frozen=True)
class AwsServer:
    """The makers give names or ids; each makes a thing of its own."""

    url: str
    judge: AwsJudge

    def client(self, service: str, key: str = "a-maker", secret: str = "a-secret") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Inside the block moto checks signatures and the policies of users; only those of `user` can call. It says
        AccessDenied where EC2 says UnauthorizedOperation."""
        self.judge.enforce(True)
        try:
            yield
        finally:
            self.judge.enforce(False)

    def ec2_instance(self) -> str:
        made = self.client("ec2").run_instances(ImageId=self._image, MinCount=1, MaxCount=1, InstanceType="t3.micro")
        return str(made["Instances"][0]["InstanceId"])

    def autoscaling_group(self, desired: int = 2, least: int = 0, most: int = 6) -> str:
        name, scaling = _name("asg"), self.client("autoscaling")
        scaling.create_launch_configuration(LaunchConfigurationName=name, ImageId=self._image, InstanceType="t3.micro")
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchConfigurationName=name,
            MinSize=least,
            MaxSize=most,
            DesiredCapacity=desired,
            AvailabilityZones=[f"{REGION}a"],
        )
        return name

    def members(self, group: str) -> list[str]:
        """Ids of the instances of an Auto Scaling group."""
        found = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        return [str(one["InstanceId"]) for one in found["AutoScalingGroups"][0]["Instances"]]

    def scaling_policy(self, group: str) -> str:
        """From now on a policy of the group owns its desired capacity: the policy's name."""
        name = _name("policy")
        metric = {"PredefinedMetricType": "ASGAverageCPUUtilization"}
        self.client("autoscaling").put_scaling_policy(
            AutoScalingGroupName=group,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration={"PredefinedMetricSpecification": metric, "TargetValue": 50.0},
        )
        return name

    def scalable_target(self, service: str, least: int = 1, most: int = 5) -> str:
        """From now on Application Auto Scaling owns the count of an ECS service: the resource's id there."""
        self.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{service}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=least,
            MaxCapacity=most,
        )
        return f"service/{service}"

    def task_definition(self, family: str) -> str:
        """The ARN of a new revision."""
        container = {"name": "app", "image": "app:1", "memory": 128, "cpu": 64, "essential": True}
        made = self.client("ecs").register_task_definition(family=family, containerDefinitions=[container])
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def ecs_service(self, desired: int = 2, *, external: bool = False) -> str:
        """`cluster/service`. `external`: deployed by task sets, the first of which is primary."""
        name, ecs = _name("svc"), self.client("ecs")
        ecs.create_cluster(clusterName=name)
        definition = self.task_definition(name)
        given: dict[str, Any] = {"cluster": name, "serviceName": name, "desiredCount": desired}
        if external:
            ecs.create_service(**given, deploymentController={"type": "EXTERNAL"})
            first = self.task_set(f"{name}/{name}", definition)
            ecs.update_service_primary_task_set(cluster=name, service=name, primaryTaskSet=first)
        else:
            ecs.create_service(**given, taskDefinition=definition)
            ecs.update_service(cluster=name, service=name, desiredCount=desired)
        return f"{name}/{name}"

    def task_set(self, service: str, definition: str) -> str:
        """The ARN of a new task set of an `external` service."""
        cluster, name = service.split("/")
        made = self.client("ecs").create_task_set(cluster=cluster, service=name, taskDefinition=definition)
        return str(made["taskSet"]["taskSetArn"])

    def function(self, versions: int = 2) -> str:
        """A Lambda function with that many published versions, and the alias `live` on the last but one."""
        name, client = _name("fn"), self.client("lambda")
        client.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Handler="app.handler",
            Role=self._role,
            Code={"ZipFile": _archive("0")},
        )
        for number in range(1, versions + 1):
            client.update_function_code(FunctionName=name, ZipFile=_archive(str(number)))
            client.publish_version(FunctionName=name)
        client.create_alias(FunctionName=name, Name="live", FunctionVersion=str(max(1, versions - 1)))
        return name

    def listener(self, first: int = 90, second: int = 10) -> tuple[str, str, str]:
        """The ARN of a listener that forwards by weight, and the names of its two target groups."""
        name, elb = _name("lb"), self.client("elbv2")
        balancer = elb.create_load_balancer(Name=name, Subnets=self._subnets)["LoadBalancers"][0]
        names = (f"{name}-a", f"{name}-b")
        groups = [
            elb.create_target_group(Name=one, Protocol="HTTP", Port=80, VpcId=balancer["VpcId"])["TargetGroups"][0]
            for one in names
        ]
        weighed = [
            {"TargetGroupArn": group["TargetGroupArn"], "Weight": weight}
            for group, weight in zip(groups, (first, second), strict=True)
        ]
        made = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weighed}}],
        )
        return str(made["Listeners"][0]["ListenerArn"]), *names

    def node_group(self, desired: int = 2, least: int = 1, most: int = 5) -> str:
        """`cluster/node group`."""
        name, eks = _name("eks"), self.client("eks")
        eks.create_cluster(name=name, roleArn=self._role, resourcesVpcConfig={"subnetIds": self._subnets})
        eks.create_nodegroup(
            clusterName=name,
            nodegroupName="workers",
            nodeRole=self._role,
            subnets=self._subnets,
            scalingConfig={"minSize": least, "maxSize": most, "desiredSize": desired},
        )
        return f"{name}/workers"

    def database(self) -> str:
        name = _name("db")
        self.client("rds").create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t3.micro",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="owner",
            MasterUserPassword="a-password",
        )
        return name

    def document(self) -> str:
        """An SSM document that its owner has written."""
        name = _name("doc")
        step = {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}
        content = {"schemaVersion": "2.2", "description": "restart the app", "mainSteps": [step]}
        self.client("ssm").create_document(Content=json.dumps(content), Name=name, DocumentType="Command")
        return name

    def user(self, *actions: str) -> tuple[str, str, str]:
        """A user who may do `actions`: ARN, access key and secret."""
        name, iam = _name("user"), self.client("iam")
        made = iam.create_user(UserName=name)["User"]
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_user_policy(UserName=name, PolicyName="held", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return str(made["Arn"]), str(key["AccessKeyId"]), str(key["SecretAccessKey"])

    @cached_property
    def _image(self) -> str:
        return str(self.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"])

    @cached_property
    def _subnets(self) -> list[str]:
        return [str(one["SubnetId"]) for one in self.client("ec2").describe_subnets()["Subnets"][:2]]

    @cached_property
    def _role(self) -> str:
        trust = {"Version": "2012-10-17", "Statement": []}
        made = self.client("iam").create_role(RoleName=_name("role"), AssumeRolePolicyDocument=json.dumps(trust))
        return str(made["Role"]["Arn"])


@contextmanager
def aws_server(directory: Path) -> Iterator[AwsServer]:
    with moto_server(directory) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield AwsServer(url, AwsJudge(http))


def _name(prefix: str) -> str:
    return f"{prefix}-{next(_NAMES)}"


def _archive(text: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("app.py", f"def handler(event, context):\n    return {text!r}\n")
    return held.getvalue()
