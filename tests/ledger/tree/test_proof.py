"""Proofs as files: the specification's example, strict round trips, and pymerkle's agreement with what we prove."""

from __future__ import annotations

import base64
from dataclasses import replace

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle.proof import MerkleProof
from tests.testbed.ledgers import ORIGIN

from watchkeeper.core.errors import VerificationError
from watchkeeper.ledger.cosigning.addcheckpoint import MAX_PROOF, AddCheckpoint
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note, SignatureLine
from watchkeeper.ledger.tree.merkle import (
    Tree,
    build_proof,
    consistency_spans,
    inclusion_spans,
    leaf_hash,
    perfect_root,
)
from watchkeeper.ledger.tree.proof import TlogProof, prove_growth

KEY = SigningKey.generate(ORIGIN)
BODIES = [b"entry %d" % n for n in range(100)]
LEAVES = [leaf_hash(body) for body in BODIES]
SIZES = st.integers(1, len(BODIES))

SPEC = """\
c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw==AAAA
"""
"""The example of the specification, but for its signatures, which are cut short there."""
SIGNED = SPEC.replace("hI2DJw==AAAA", "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo=")


def test_the_specification_s_example_is_read_and_written_back() -> None:
    proof = TlogProof.from_text(SIGNED)
    assert (proof.index, len(proof.hashes), proof.extra[:10]) == (73894, 5, b"age-v1.2.1")
    assert Checkpoint.from_text(proof.note.text).size == 109482
    assert proof.to_text() == SIGNED
    without = "\n".join(line for line in SIGNED.split("\n") if not line.startswith("extra"))
    assert TlogProof.from_text(without) == replace(proof, extra=b"")
    assert TlogProof.from_text(without).to_text() == without


@pytest.mark.parametrize(
    "edit",
    [
        ("@v1", "@v2"),
        ("index 73894", "index 073894"),
        ("index 73894", "index -1"),
        ("index 73894", "index ٧"),
        ("index 73894", "index 99999999999999999999"),
        ("index 73894\n", ""),
        ("index 73894", "extra \nindex 73894"),
        ("index 73894", "extra YWdlL\nindex 73894"),
        ("index 73894", "extra YQ==\nextra YQ==\nindex 73894"),
        ("gSKyXoYZ", "gSKyXo"),
        ("PlQ=\n", "PlR=\n"),
        ("gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=", "YQ=="),
        ("\n\nexample", "\nexample"),
        ("— ", "- "),
    ],
)
def test_what_is_not_exactly_a_proof_is_refused(edit: tuple[str, str]) -> None:
    assert SIGNED.replace(*edit) != SIGNED
    with pytest.raises(VerificationError, match="not a tlog-proof"):
        TlogProof.from_text(SIGNED.replace(*edit))


hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF).map(tuple)
notes = st.builds(
    lambda size, root, signature: Note(
        Checkpoint(ORIGIN, size, root).to_text(), (SignatureLine(ORIGIN, signature[:4], signature[4:]),)
    ),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=5, max_size=80),
)
proofs = st.builds(TlogProof, st.integers(0, 2**63 - 1), hashes, notes, st.binary(max_size=100))


@given(proofs)
def test_what_was_written_is_read_again(proof: TlogProof) -> None:
    assert TlogProof.from_text(proof.to_text()) == proof


@given(proofs, st.integers(0, 2000), st.text(max_size=3))
def test_whatever_is_read_at_all_is_written_back_unchanged(proof: TlogProof, at: int, put: str) -> None:
    text = proof.to_text()
    text = text[: at % len(text)] + put + text[at % len(text) + 1 :]
    try:
        found = TlogProof.from_text(text)
    except VerificationError:
        return
    assert found.to_text() == text


def too_many() -> str:
    line = base64.b64encode(bytes(32)).decode() + "\n"
    return SIGNED.replace("\n\n", "\n" + line * MAX_PROOF + "\n", 1)


@pytest.mark.parametrize("text", ["", "\n\n", "c2sp.org/tlog-proof@v1", "x" * 2_000_000, "old 1\n\nx", too_many()])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(VerificationError, match="not a tlog-proof"):
        TlogProof.from_text(text)


def signed(size: int) -> Note:
    tree = Tree()
    tree.extend(LEAVES[:size])
    return Note.from_text(sign_checkpoint(Checkpoint(ORIGIN, size, tree.root()), KEY))


def opened(note: Note) -> Checkpoint:
    return open_checkpoint(note.to_text(), [KEY.verifier])


def of(node: tuple[int, int]) -> bytes:
    level, index = node
    return perfect_root(LEAVES[index << level : (index + 1) << level])


def theirs(size: int) -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree("sha256")
    for body in BODIES[:size]:
        tree.append_entry(body)
    return tree


@given(SIZES, st.data())
def test_an_entry_is_proven_to_us_and_to_pymerkle(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    made = TlogProof(index, build_proof(inclusion_spans(index, size), of), signed(size))
    proof = TlogProof.from_text(made.to_text())
    checkpoint = opened(proof.note)
    proof.prove(BODIES[index], checkpoint)
    reference = theirs(size)
    assert reference.get_root() == checkpoint.root
    shown = reference.prove_inclusion(index + 1)
    assert list(shown.path[1:]) == list(proof.hashes), "pymerkle's path begins with the leaf"
    pymerkle.verify_inclusion(LEAVES[index], checkpoint.root, shown)
    for other in {BODIES[index] + b"x", BODIES[(index + 1) % len(BODIES)]}:
        with pytest.raises(VerificationError, match="does not show"):
            proof.prove(other, checkpoint)
    with pytest.raises(VerificationError, match="does not show"):
        TlogProof(index + 1, proof.hashes, proof.note).prove(BODIES[index], checkpoint)


@given(SIZES, SIZES, st.integers(0, 62))
def test_growth_is_proven_to_us_and_to_pymerkle(one: int, two: int, flipped: int) -> None:
    old, new = sorted((one, two))
    made = AddCheckpoint(old, build_proof(consistency_spans(old, new), of), signed(new))
    proof = AddCheckpoint.from_bytes(made.to_bytes())
    remembered, checkpoint = opened(signed(old)), opened(proof.note)
    prove_growth(proof, remembered, checkpoint)
    shown: MerkleProof = theirs(new).prove_consistency(old, new)
    pymerkle.verify_consistency(remembered.root, checkpoint.root, shown)
    wrong = [Checkpoint(ORIGIN, old, bytes(32)), Checkpoint(ORIGIN, old + 1, remembered.root)]
    wrong.append(Checkpoint("other.example/log", old, remembered.root))
    for each in wrong:
        with pytest.raises(VerificationError, match="only grew"):
            prove_growth(proof, each, checkpoint)
    if proof.proof:
        at = flipped % len(proof.proof)
        broken = (*proof.proof[:at], bytes(32), *proof.proof[at + 1 :])
        with pytest.raises(VerificationError, match="only grew"):
            prove_growth(AddCheckpoint(old, broken, proof.note), remembered, checkpoint)


def test_every_log_grew_from_nothing() -> None:
    proof = AddCheckpoint(0, (), signed(5))
    prove_growth(proof, Checkpoint(ORIGIN, 0, Tree().root()), opened(proof.note))
