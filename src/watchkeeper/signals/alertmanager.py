"""Alertmanager's webhook, version 4, to `Event`: one for each alert of the group.

Only names and configured labels are kept; annotations are people's text and stay out. Alertmanager does not sign its
webhooks: who sent the body is NOT known here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Contract, Labels, format_instant
from watchkeeper.core.signals import Event, EventKind
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.names import clean, subject_id

SOURCE = "alertmanager"

_LABEL = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")

MAX_BODY = 4 * 2**20
MAX_ALERTS = 10_000

_ZERO = datetime(1, 1, 2, tzinfo=UTC)
"""Alertmanager's "not ended", away from the edge of time where no other zone can express it."""


class LabelRule(Contract):
    """An alert that carries `label` is about the `kind` that the label's value names."""

    label: str
    kind: SubjectKind


class TargetRule(Contract):
    """An alert that carries every label that `id` names, and those of `when`, is about this target of an adapter."""

    adapter: str = Field(pattern=r"^[a-z]+:[a-z0-9-]{1,32}$")
    """As the daemon names it: `kubernetes:prod`."""
    kind: str = Field(pattern=r"^[a-z_]{1,32}$")
    id: str = Field(pattern=r"^([^{}\s]|\{[a-zA-Z_][a-zA-Z0-9_]*\})+$")
    """Text in which `{namespace}` stands for that label's value."""
    when: dict[str, str] = Field(default_factory=dict)

    def target(self, labels: Mapping[str, str]) -> str:
        """The target's text; empty where the rule says nothing of such an alert."""
        names = _LABEL.findall(self.id)
        values = {name: clean(labels.get(name, "")) for name in names}
        if not all(values.values()) or any(labels.get(name) != value for name, value in self.when.items()):
            return ""
        return f"{self.adapter}/{self.kind}/{self.id.format_map(values)}"


class AlertmanagerConfig(Contract):
    """`targets`: the first rule that fits says what an alert is about, if it is about what can be acted on; else the
    first of `subjects` whose label it carries. `labels` are kept."""

    targets: Annotated[tuple[TargetRule, ...], Field(max_length=200)] = ()

    subjects: tuple[LabelRule, ...] = (
        LabelRule(label="key", kind=SubjectKind.KEY),
        LabelRule(label="deployment", kind=SubjectKind.DEPLOYMENT),
        LabelRule(label="agent", kind=SubjectKind.AGENT),
        LabelRule(label="model", kind=SubjectKind.MODEL),
        LabelRule(label="service", kind=SubjectKind.SERVICE),
        LabelRule(label="pod", kind=SubjectKind.POD),
        LabelRule(label="instance", kind=SubjectKind.HOST),
    )
    labels: tuple[str, ...] = ("environment", "severity")
    unassigned: str = "unassigned"
    """The service that an alert without any of the labels is about."""


class _Received(BaseModel):
    """Newer versions add fields; what is not read may be anything."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _plausible(value: datetime) -> datetime:
    if not 1 <= value.year < 2500:
        raise ValueError("the time is too far away")
    return value if value.year > 1 else _ZERO


_Time = Annotated[AwareDatetime, AfterValidator(_plausible)]


class _Alert(_Received):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    startsAt: _Time
    endsAt: _Time | None = None
    fingerprint: str = Field(min_length=1, max_length=64)


class _Webhook(_Received):
    version: Literal["4"]
    groupKey: str = Field(min_length=1)
    alerts: Annotated[tuple[_Alert, ...], Field(max_length=MAX_ALERTS)]


def decode(body: bytes, config: AlertmanagerConfig) -> tuple[Event, ...]:
    if len(body) > MAX_BODY:
        raise _bad("body", f"the body is larger than {MAX_BODY} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("body", "the body is not JSON") from error
    try:
        webhook = _Webhook.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _bad(_place(first["loc"]), first["msg"]) from error
    return tuple(_event(alert, webhook.groupKey, config) for alert in webhook.alerts)


def _event(alert: _Alert, group: str, config: AlertmanagerConfig) -> Event:
    active = alert.status == "firing"
    return Event(
        id=_id(alert, group),
        source=SOURCE,
        at=alert.startsAt if active or alert.endsAt is None else max(alert.startsAt, alert.endsAt),
        kind=EventKind.ALERT,
        name=clean(alert.labels.get("alertname", "")) or "unnamed",
        subject=_subject(alert, config),
        active=active,
        labels=_labels(alert, config),
    )


def _id(alert: _Alert, group: str) -> str:
    """Repeats of a notification are the same event; an alert that fires again after it was resolved is another."""
    content = [group, alert.fingerprint, format_instant(alert.startsAt), alert.status]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _subject(alert: _Alert, config: AlertmanagerConfig) -> Subject:
    target = next((found for rule in config.targets if (found := rule.target(alert.labels))), "")
    if target:
        return Subject(kind=SubjectKind.TARGET, id=target)
    for rule in config.subjects:
        named = subject_id(rule.kind, alert.labels.get(rule.label, ""))
        if named:
            return Subject(kind=rule.kind, id=named)
    return Subject(kind=SubjectKind.SERVICE, id=config.unassigned)


def _labels(alert: _Alert, config: AlertmanagerConfig) -> Labels:
    return tuple((name, clean(alert.labels[name])) for name in sorted(set(config.labels)) if name in alert.labels)


def _place(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "body"


def _bad(place: str, what: str) -> InputError:
    return InputError(
        what,
        cause="the sender is not Alertmanager, or its receiver has a payload of its own",
        next_step="set the receiver's webhook_configs without a custom payload",
        place=place,
    )
