"""What AWS documents and moto leaves out, added inside moto's process, where an adapter has to rely on it.

These parts are ours, after AWS's documents: a proof that needs one of them is a proof against a fake, not an emulator.
- Lambda: `UpdateAlias` with a `RevisionId` that is not the alias's own is refused, and each update makes a new one.
- EC2: a start moves `LaunchTime`.
- RDS: a reboot leaves the event "DB instance restarted"; `stopped` instances refuse it.
- IAM: `SimulatePrincipalPolicy` over the policies of a user or a role, by moto's own evaluator (no boundaries, no
  organisation's policies, no session policies).
- Auto Scaling: `SetDesiredCapacity` outside of min and max is refused.
- `STUCK` holds kinds whose self-restoring does not happen: a group that launches nothing, a database that stays
  `rebooting`, a service whose tasks do not start, an instance that stays `pending`.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

STUCK: set[str] = set()


def _instead(owner: Any, **methods: Any) -> None:
    for name, method in methods.items():
        setattr(owner, name, method)


def fill() -> None:
    """Once, before the first request."""
    _lambda()
    _ec2()
    _rds()
    _iam()
    _autoscaling()
    _ecs()


def _lambda() -> None:
    from moto.awslambda.models import LambdaAlias
    from moto.awslambda.responses import LambdaResponse
    from moto.core.exceptions import JsonRESTError

    class PreconditionFailed(JsonRESTError):
        code = 412

        def __init__(self) -> None:
            super().__init__(
                "PreconditionFailedException",
                "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to "
                "retrieve the latest RevisionId",
            )

    update, respond = LambdaAlias.update, LambdaResponse.update_alias

    def moved(self: Any, *given: Any, **named: Any) -> None:
        update(self, *given, **named)
        self.revision_id = str(uuid4())

    def checked(self: Any) -> Any:
        import json

        wanted = json.loads(self.body).get("RevisionId")
        function, alias = self.path.rsplit("/")[-3], self.path.rsplit("/", 1)[-1]
        if wanted is not None and wanted != self.backend.get_alias(alias, function).revision_id:
            raise PreconditionFailed
        return respond(self)

    _instead(LambdaAlias, update=moved)
    _instead(LambdaResponse, update_alias=checked)


def _ec2() -> None:
    from moto.core.utils import utcnow
    from moto.ec2.models.instances import Instance

    start = Instance.start

    def launched(self: Any) -> Any:
        was_running = self.is_running()
        before = start(self)
        if not was_running:
            self.launch_time = utcnow()
            if "ec2_instance" in STUCK:
                self._state.name, self._state.code = "pending", 0
        return before

    _instead(Instance, start=launched)


def _rds() -> None:
    from moto.rds.exceptions import InvalidDBInstanceStateError
    from moto.rds.models import Event, RDSBackend

    Event.EVENT_MAP["DB_INSTANCE_RESTARTED"] = {"Categories": ["availability"], "Message": "DB instance restarted"}

    def reboot(self: Any, db_instance_identifier: str) -> Any:
        database = self.describe_db_instances(db_instance_identifier)[0]
        if database.status != "available":
            raise InvalidDBInstanceStateError(db_instance_identifier, "reboot")
        if "rds_instance" in STUCK:
            database.status = "rebooting"
        else:
            self.add_event("DB_INSTANCE_RESTARTED", database)
        return database

    _instead(RDSBackend, reboot_db_instance=reboot)


def _iam() -> None:
    from moto.core.responses import ActionResult
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.iam.responses import IamResponse

    words = {
        PermissionResult.PERMITTED: "allowed",
        PermissionResult.DENIED: "explicitDeny",
        PermissionResult.NEUTRAL: "implicitDeny",
    }

    def policies(backend: Any, arn: str) -> list[IAMPolicy]:
        kind, name = arn.rsplit(":", 1)[-1].split("/", 1)
        holder = backend.get_user(name) if kind == "user" else backend.get_role(name)
        attached = [backend.get_policy(found.arn) for found in holder.managed_policies.values()]
        return [IAMPolicy(found) for found in (*attached, *holder.policies.values())]

    def simulate(self: Any) -> Any:
        found = policies(self.backend, self._get_param("PolicySourceArn"))
        results = []
        for action in self._get_param("ActionNames", []):
            for resource in self._get_param("ResourceArns", []) or ["*"]:
                given = {policy.is_action_permitted(action, resource) for policy in found}
                order = (PermissionResult.DENIED, PermissionResult.PERMITTED)
                decision = next((one for one in order if one in given), PermissionResult.NEUTRAL)
                results.append(
                    {
                        "EvalActionName": action,
                        "EvalResourceName": resource,
                        "EvalDecision": words[decision],
                        "MatchedStatements": [],
                        "MissingContextValues": [],
                    }
                )
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    _instead(IamResponse, simulate_principal_policy=simulate)


def _autoscaling() -> None:
    from moto.autoscaling.exceptions import ValidationError
    from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup

    set_capacity = AutoScalingBackend.set_desired_capacity
    launch = FakeAutoScalingGroup.replace_autoscaling_group_instances

    def bounded(self: Any, group_name: str, desired_capacity: int | None) -> None:
        if group_name not in self.autoscaling_groups:
            raise ValidationError("AutoScalingGroup name not found - null")
        group, wanted = self.autoscaling_groups[group_name], desired_capacity or 0
        for beyond, word, bound in (
            (wanted > group.max_size, "above max", group.max_size),
            (wanted < group.min_size, "below min", group.min_size),
        ):
            if beyond:
                raise ValidationError(
                    f"New SetDesiredCapacity value {wanted} is {word} value {bound} for the AutoScalingGroup."
                )
        set_capacity(self, group_name, desired_capacity)

    def launches(self: Any, *given: Any, **named: Any) -> None:
        if "autoscaling_group" not in STUCK:
            launch(self, *given, **named)

    _instead(AutoScalingBackend, set_desired_capacity=bounded)
    _instead(FakeAutoScalingGroup, replace_autoscaling_group_instances=launches)


def _ecs() -> None:
    from moto.ecs.models import EC2ContainerServiceBackend

    update = EC2ContainerServiceBackend.update_service

    def rolled(self: Any, service_properties: dict[str, Any]) -> Any:
        deploys = service_properties.get("force_new_deployment") or service_properties.get("task_definition")
        if service_properties.get("task_definition"):
            service_properties["force_new_deployment"] = True
        service = update(self, service_properties)
        service.running_count = 0 if deploys and "ecs_service" in STUCK else service.desired_count
        for deployment in service.deployments:
            done = service.running_count == service.desired_count
            deployment.update(
                desiredCount=service.desired_count,
                runningCount=service.running_count,
                taskDefinition=service.task_definition,
                rolloutState="COMPLETED" if done else "IN_PROGRESS",
            )
        return service

    _instead(EC2ContainerServiceBackend, update_service=rolled)
