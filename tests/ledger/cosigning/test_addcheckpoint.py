"""The add-checkpoint body: the specification's example, its round trip, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.errors import InputError
from watchkeeper.ledger.cosigning.addcheckpoint import MAX_BODY_BYTES, MAX_PROOF, AddCheckpoint
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.note import Note, SignatureLine

NOTE = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501  # as it stands in the specification
PROOF = """\
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=
"""
EXAMPLE = f"old 20852014\n{PROOF}\n{NOTE}"


def test_the_specification_s_example_is_read_and_written_back() -> None:
    read = AddCheckpoint.from_bytes(EXAMPLE.encode())
    assert read.old == 20852014
    assert len(read.proof) == 4
    assert Checkpoint.from_text(read.note.text).size == 20852163
    assert read.to_bytes() == EXAMPLE.encode()


notes = st.builds(
    lambda size, root: Note(
        Checkpoint("a.example/log", size, root).to_text(), (SignatureLine("a.example/log", b"abcd", b"x" * 64),)
    ),
    st.integers(0, 2**62),
    st.binary(min_size=32, max_size=32),
)


@given(st.integers(0, 2**62), st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF).map(tuple), notes)
def test_reading_what_was_written_gives_the_same(old: int, proof: tuple[bytes, ...], note: Note) -> None:
    request = AddCheckpoint(old, proof, note)
    assert AddCheckpoint.from_bytes(request.to_bytes()) == request


@given(st.integers(0, len(EXAMPLE.encode()) - 1), st.integers(0, 255))
def test_a_body_with_one_byte_changed_is_refused_or_read_as_it_is(at: int, byte: int) -> None:
    body = bytearray(EXAMPLE.encode())
    body[at] = byte
    try:
        read = AddCheckpoint.from_bytes(bytes(body))
    except InputError:
        return
    assert read.to_bytes() == bytes(body)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "old 1",
        f"old 01\n\n{NOTE}",
        f"old -1\n\n{NOTE}",
        f"old ¹\n\n{NOTE}",
        f"old {10**19}\n\n{NOTE}",
        f"old  1\n\n{NOTE}",
        f"1\n\n{NOTE}",
        f"old 1\nAAAA\n\n{NOTE}",
        f"old 1\n{'A' * 43}=\r\n\n{NOTE}",
        f"old 1\n{(PROOF * 16)}\n{NOTE}",
        "old 1\n\nno note",
        "old 1\n\n" + "x" * MAX_BODY_BYTES,
    ],
)
def test_what_is_not_exactly_such_a_body_is_refused(body: str) -> None:
    with pytest.raises(InputError, match="not an add-checkpoint body"):
        AddCheckpoint.from_bytes(body.encode())
    with pytest.raises(InputError, match="not an add-checkpoint body"):
        AddCheckpoint.from_bytes(b"\xff" + body.encode())
