"""The templates that a workload has had, as its controller keeps them, and which of them it has now.

A revision is named by the object that keeps it (a ReplicaSet, a ControllerRevision). Whether the workload has a
template is told by comparing the two, not by the controller's status, which comes later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from watchkeeper.adapters.kubernetes.objects import REVISION, JsonObject, at, number, owned_by, text

HASH_LABELS = ("pod-template-hash", "controller-revision-hash")


@dataclass(frozen=True)
class Revision:
    name: str
    number: int
    template: JsonObject


def revisions(workload: JsonObject, kept: Iterable[JsonObject]) -> tuple[Revision, ...]:
    """Those of `workload`, the newest first."""
    uid = text(at(workload, "metadata", "uid"))
    mine = [each for each in kept if owned_by(each, uid)]
    return tuple(sorted((_revision(each) for each in mine), key=lambda each: -each.number))


def current(workload: JsonObject, known: Sequence[Revision]) -> Revision | None:
    """None where its template is one that was not kept yet, or not any more."""
    now = _bare(at(workload, "spec", "template"))
    return next((each for each in known if each.template == now), None)


def former(workload: JsonObject, known: Sequence[Revision], wanted: int | None) -> Revision | None:
    """Number `wanted`, or the newest that is not the current one."""
    if wanted is not None:
        return next((each for each in known if each.number == wanted), None)
    now = current(workload, known)
    return next((each for each in known if each != now), None)


def _revision(kept: JsonObject) -> Revision:
    name = text(at(kept, "metadata", "name"))
    if "data" in kept:
        return Revision(name, number(kept.get("revision")), _bare(at(kept, "data", "spec", "template")))
    annotated = text(at(kept, "metadata", "annotations", REVISION))
    return Revision(name, int(annotated) if annotated.isdigit() else 0, _bare(at(kept, "spec", "template")))


def _bare(template: JsonValue) -> JsonObject:
    """Without what a controller adds to it."""
    if not isinstance(template, dict):
        return {}
    metadata = {**_object(template.get("metadata"))}
    labels = {name: value for name, value in _object(metadata.get("labels")).items() if name not in HASH_LABELS}
    metadata["labels"] = labels
    return {name: value for name, value in template.items() if name != "$patch"} | {"metadata": metadata}


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
