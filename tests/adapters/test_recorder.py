"""The recorder: durable before the send, an entry after it, bounded and redacted, on both databases."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from watchkeeper.adapters.kit import KitSink, sure
from watchkeeper.adapters.recorder import MAX_KEPT_BYTES, Call, CallRecorder, Reply, under
from watchkeeper.adapters.sink import LedgerCallSink
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import AdapterError, LedgerError
from watchkeeper.core.ids import ClaimId, IncidentId
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.tables import ledger_staged
from watchkeeper.store.engine import Store

INCIDENT, CLAIM = IncidentId("inc_1"), ClaimId("clm_1")
SECRET = "the-admin-key-itself"
WRITE = Call("litellm:main", "key.update", b'{"rpm_limit":1}', write=True)
READ = Call("litellm:main", "key.info", b"{}", write=False)


def recorder(sink: KitSink) -> CallRecorder:
    return CallRecorder(sink, Redactor([SecretStr(SECRET)]), ManualClock())


class Transport:
    """Counts its sends."""

    def __init__(self, reply: Reply) -> None:
        self.reply, self.sent = reply, 0

    async def __call__(self) -> Reply:
        self.sent += 1
        return self.reply


OK = Reply("ok", "http_200", 200, b'{"rpm_limit":1}')


async def test_invariant_1_a_write_without_a_claim_is_not_sent() -> None:
    transport = Transport(OK)
    with pytest.raises(AdapterError, match="no claim"):
        await recorder(KitSink()).send(WRITE, transport)
    with under(incident=INCIDENT), pytest.raises(AdapterError, match="no claim"):
        await recorder(KitSink()).send(WRITE, transport)
    assert transport.sent == 0


async def test_a_write_of_who_only_observes_is_not_sent() -> None:
    transport = Transport(OK)
    with under(incident=INCIDENT, claim=CLAIM), pytest.raises(AdapterError, match="no claim"):
        await recorder(KitSink()).send(WRITE, transport)
    assert transport.sent == 0


async def test_invariant_2_authority_is_asked_for_after_the_request_is_durable_and_before_the_send() -> None:
    sink, transport, told = KitSink(), Transport(OK), list[int]()

    async def lost() -> bool:
        told.append(len(sink.bodies))
        return False

    with under(incident=INCIDENT, claim=CLAIM, may_send=lost):
        reply = await recorder(sink).send(WRITE, transport)
        assert (await recorder(sink).send(READ, transport)).result == "ok"
    assert (reply.result, reply.code, told) == ("not_sent", "authority_lost", [1])
    assert [(call.operation, call.result) for call in sink.calls] == [("key.update", "not_sent"), ("key.info", "ok")]


async def test_reads_are_recorded_for_an_incident_only() -> None:
    sink = KitSink()
    await recorder(sink).send(READ, Transport(OK))
    assert sink.calls == []
    with under(incident=INCIDENT):
        await recorder(sink).send(READ, Transport(OK))
    assert [(call.incident, call.claim, call.result) for call in sink.calls] == [(INCIDENT, None, "ok")]


async def test_invariant_11_what_cannot_be_recorded_is_not_sent() -> None:
    sink, transport = KitSink(), Transport(OK)
    sink.refuse = "begin"
    with under(incident=INCIDENT, claim=CLAIM, may_send=sure), pytest.raises(LedgerError, match="was not sent"):
        await recorder(sink).send(WRITE, transport)
    assert transport.sent == 0


async def test_a_sent_write_that_cannot_be_recorded_is_a_ledger_error() -> None:
    sink, transport = KitSink(), Transport(OK)
    sink.refuse = "finish"
    with (
        under(incident=INCIDENT, claim=CLAIM, may_send=sure),
        pytest.raises(LedgerError, match="could not be recorded"),
    ):
        await recorder(sink).send(WRITE, transport)
    assert transport.sent == 1


async def test_a_cancelled_write_is_recorded_as_unknown() -> None:
    sink, entered = KitSink(), asyncio.Event()

    async def forever() -> Reply:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("not reached")

    with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
        task = asyncio.create_task(recorder(sink).send(WRITE, forever))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [call.result for call in sink.calls] == ["unknown"]


async def test_invariant_10_bodies_are_bounded_and_redacted_before_they_are_cut() -> None:
    sink = KitSink()
    body = b"x" * (MAX_KEPT_BYTES - len(SECRET) // 2) + SECRET.encode() + b"y" * 100
    with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
        await recorder(sink).send(WRITE, Transport(Reply("ok", "http_200", 200, body)))
    assert len(sink.bodies[1]) <= MAX_KEPT_BYTES
    assert SECRET[:8].encode() not in sink.bodies[1]


async def test_calls_of_two_tasks_keep_their_own_incident() -> None:
    sink = KitSink()

    async def act(name: str) -> None:
        with under(incident=IncidentId(name), claim=ClaimId(f"clm_{name}"), may_send=sure):
            await asyncio.sleep(0)
            await recorder(sink).send(WRITE, Transport(OK))

    await asyncio.gather(act("inc_a"), act("inc_b"))
    assert {(call.incident, call.claim) for call in sink.calls} == {("inc_a", "clm_inc_a"), ("inc_b", "clm_inc_b")}


async def test_the_ledger_holds_the_call_and_the_evidence_its_bodies(store: Store) -> None:
    clock = ManualClock()
    evidence = Evidence(store, clock=clock)
    sink = LedgerCallSink(store, Ledger(store, clock, source="urn:test", writer="w"), evidence)
    with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
        await CallRecorder(sink, Redactor(), clock).send(WRITE, Transport(OK))
        await CallRecorder(sink, Redactor(), clock).send(WRITE, Transport(Reply("unknown", "timeout")))
    async with store.read() as tx:
        rows = (await tx.execute(select(ledger_staged.c.body).order_by(ledger_staged.c.seq))).scalars().all()
    answered, lost = (json.loads(row) for row in rows)
    assert answered["type"] == EntryType.CALL
    assert (answered["subject"], answered["data"]["claim"], answered["data"]["result"]) == (INCIDENT, CLAIM, "ok")
    assert await evidence.get(answered["data"]["request"]["commitment"]) == WRITE.body
    assert await evidence.get(answered["data"]["reply"]["commitment"]) == OK.body
    assert (lost["data"]["result"], lost["data"]["reply"], lost["data"]["status"]) == ("unknown", None, None)
