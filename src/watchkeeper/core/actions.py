"""What may be done: one vocabulary of intents over every target, and the field changes they come down to."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.model import Contract, Instant, Labels, Scalar


class Intent(StrEnum):
    RESTART = "restart"
    START = "start"
    STOP = "stop"
    REPLACE = "replace"
    """Another instance takes its place: terminate and replace, recreate, reimage."""
    KILL = "kill"
    SCALE = "scale"
    ROLLBACK = "rollback"
    DRAIN = "drain"
    CORDON = "cordon"
    THROTTLE = "throttle"
    SET_LIMIT = "set_limit"
    SET_BUDGET = "set_budget"
    SET_RESOURCES = "set_resources"
    """CPU and memory."""
    SET_CONFIG = "set_config"
    """One setting of the thing itself: an environment variable, a log level."""
    BLOCK = "block"
    SHIFT_TRAFFIC = "shift_traffic"
    SET_FALLBACK = "set_fallback"
    PAUSE = "pause"
    RESUME = "resume"
    PIN_VERSION = "pin_version"
    RECLAIM_SPACE = "reclaim_space"
    RUN = "run"
    """A document of commands that the target's owner has written and named."""


class ActionKind(StrEnum):
    REVERSIBLE = "reversible"
    SELF_RESTORING = "self_restoring"
    IRREVERSIBLE = "irreversible"


class Target(Contract):
    """`adapter` is the configured adapter's name (`litellm:main`), `kind` its word for the thing (`key`)."""

    schema_name = "watchkeeper.dev/target/v1"
    adapter: str
    kind: str
    id: str
    labels: Labels = ()

    def __str__(self) -> str:
        return f"{self.adapter}/{self.kind}/{self.id}"

    @classmethod
    def of(cls, text: str) -> Target | None:
        """The target that `text` names, without labels; an id may have slashes. None where it names none."""
        adapter, _, rest = text.partition("/")
        kind, _, name = rest.partition("/")
        return cls(adapter=adapter, kind=kind, id=name) if adapter and kind and name else None


class Action(Contract):
    """One resolved step: parameters are scalars that code drew from evidence, never text from a model."""

    schema_name = "watchkeeper.dev/action/v1"
    step: int = Field(ge=0)
    intent: Intent
    kind: ActionKind
    target: Target
    parameters: tuple[tuple[str, Scalar], ...] = ()


class FieldChange(Contract):
    """One field of a target. `None` is the target's own "unset"."""

    path: str
    before: Scalar
    after: Scalar


class Change(Contract):
    """What an action does, field by field: the dry run's answer, the approval's picture and, inverted, the undo."""

    schema_name = "watchkeeper.dev/change/v1"
    target: Target
    intent: Intent
    fields: tuple[FieldChange, ...]

    def inverse(self) -> Change:
        back = tuple(FieldChange(path=f.path, before=f.after, after=f.before) for f in self.fields)
        return Change(target=self.target, intent=self.intent, fields=back)


class FieldState(Contract):
    """`manageable` is false where the target will not let us change it; `why` is then a short code."""

    path: str
    value: Scalar
    manageable: bool = True
    why: str = ""
    owner: str = ""
    """Another controller that owns the field (an HPA, a field manager); empty when nobody else does."""


class TargetState(Contract):
    schema_name = "watchkeeper.dev/target-state/v1"
    target: Target
    exists: bool
    at: Instant
    fields: tuple[FieldState, ...] = ()
    population: int = 1
    """How many things of this kind there are, for blast radius as a share."""

    def value(self, path: str) -> Scalar:
        return next((f.value for f in self.fields if f.path == path), None)
