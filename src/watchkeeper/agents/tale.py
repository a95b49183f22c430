"""An incident's last plan and what became of it, from its recorded steps: what is scored when the incident ends.

Read in the transaction that ends it, whoever ends it. It reads steps alone: what was never recorded did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents import scores
from watchkeeper.agents.records import Checked, Decided, Done, Proposed
from watchkeeper.agents.scores import Deed
from watchkeeper.agents.tables import incident_step
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.outcomes import Recovery
from watchkeeper.core.trust import Origin, TrustOutcome

_READ = ("propose", "decide", "diagnose", "execute", "verify", "untreated")
MOOT = "moot"
"""The resolution of an incident whose trouble was gone before anything was done."""


async def ending(
    tx: AsyncConnection, incident: IncidentId, resolution: str, at: datetime, *, by_person: bool
) -> tuple[TrustOutcome, ...]:
    """What the incident's end says, if it came to a decision at all."""
    wanted = or_(*(incident_step.c.step.startswith(f"{name}/") for name in _READ))
    query = select(incident_step.c.step, incident_step.c.result).where(incident_step.c.incident == incident, wanted)
    return told({row.step: row.result for row in await tx.execute(query)}, resolution, at, by_person=by_person)


def told(steps: Mapping[str, bytes], resolution: str, at: datetime, *, by_person: bool) -> tuple[TrustOutcome, ...]:
    """The same of steps at hand: name → what was recorded."""
    attempt = max((int(name.split("/")[1]) for name in steps if name.startswith("propose/")), default=None)
    if attempt is None or f"decide/{attempt}/0" not in steps:
        return ()
    plan = Proposed.model_validate_json(steps[f"propose/{attempt}"]).plan
    if plan is None:
        return ()
    decided = Decided.model_validate_json(steps[f"decide/{attempt}/0"])
    found = steps.get(f"diagnose/{attempt}")  # a plan that a person edited was not diagnosed anew
    deed = Deed(plan, decided.record, None if found is None else Diagnosis.model_validate_json(found))
    if deed.origin is Origin.SHADOW:
        read = _last(steps, [f"untreated/{attempt}"])
        return scores.untreated(deed, read, at, by_itself=not by_person)
    done = steps.get(f"execute/{attempt}/0")
    did = None if done is None else scores.succeeded(Done.model_validate_json(done).effects)
    first = f"verify/{attempt}/0/{len(plan.verification.horizons_s) - 1}/"
    read = _last(steps, (name for name in steps if name.startswith(first)))
    return scores.ended(deed, did, read, at, moot=resolution == MOOT)


def _last(steps: Mapping[str, bytes], names: Iterable[str]) -> Recovery | None:
    found = [Checked.model_validate_json(steps[name]).outcome for name in names if name in steps]
    return max(found, key=lambda outcome: outcome.at).recovery if found else None
