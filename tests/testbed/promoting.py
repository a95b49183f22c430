"""What an agent earned, and who says how far it goes, for tests of promotion."""

from __future__ import annotations

from tests.testbed.authority import AGENT, START, Authority, an_operator, entries
from watchkeeper.core.actions import Intent
from watchkeeper.core.agents import StandingChanged, Why, Word
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.entries import EntryType
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.promotion.service import Promotions
from watchkeeper.policies.trust.key import TrustKey

SCOPE = Scope(environment="prod", service="chat")
KEY = TrustKey(
    agent=AGENT,
    manifest_digest="sha256:m",
    runbook="throttle-runaway-caller",
    intent=Intent.THROTTLE,
    scope=SCOPE,
)
"""Of `a_plan`."""
OLGA = an_operator("olga")


def over(authority: Authority) -> Promotions:
    """Hears of what that authority's trust records."""
    evidence = Evidence(authority.store, clock=authority.clock)
    made = Promotions(authority.store, authority.ledger, authority.clock, evidence, authority.trust)
    authority.trust.tell(made.scored)
    return made


def outcome(
    n: int, credit: Credit = Credit.SUCCESS, grounds: Grounds = Grounds.RECOVERED, **more: object
) -> TrustOutcome:
    made = TrustOutcome(
        agent=KEY.agent,
        manifest_digest=KEY.manifest_digest,
        runbook=KEY.runbook,
        intent=KEY.intent,
        scope=SCOPE,
        incident=IncidentId(f"inc_{n}"),
        plan=PlanId(f"pln_t{n}"),
        step=0,
        origin=Origin.APPROVED,
        credit=credit,
        grounds=grounds,
        at=START,
    )
    return made.model_copy(update=more)


async def record(authority: Authority, *outcomes: TrustOutcome) -> None:
    async with authority.store.write() as tx:
        await authority.trust.record(tx, outcomes)


async def earned(authority: Authority, successes: int = 40, **more: object) -> None:
    now, failed = authority.clock.now(), (Credit.FAILURE, Grounds.NOT_RECOVERED)
    good = [outcome(n).model_copy(update={"at": now} | more) for n in range(successes)]
    bad = [outcome(n + 1000, *failed, origin=Origin.SHADOW) for n in range(12)]
    await record(authority, *good, *(each.model_copy(update={"at": now} | more) for each in bad))


async def promoted(authority: Authority, promotions: Promotions) -> None:
    await earned(authority)
    await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "four good weeks")


async def words(authority: Authority) -> list[tuple[Word, Why, Autonomy | None]]:
    found = await entries(authority.store, EntryType.AGENT_STANDING)
    return [(each.word, each.why, each.autonomy) for each in found if isinstance(each, StandingChanged)]
