"""The Merkle tree against the definitions of RFC 6962 and against pymerkle, which we did not write."""

from __future__ import annotations

import hashlib

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.ledger.tree.merkle import (
    EMPTY_ROOT,
    TILE,
    Node,
    Tile,
    Tree,
    build_proof,
    consistency_spans,
    fold,
    inclusion_spans,
    leaf_hash,
    node_hash,
    perfect_root,
    verify_consistency,
    verify_inclusion,
)

BODIES = [b"entry %d" % n for n in range(140)]
LEAVES = [leaf_hash(body) for body in BODIES]
SIZES = st.integers(1, len(LEAVES))


def of(node: Node) -> bytes:
    level, index = node
    return perfect_root(LEAVES[index << level : (index + 1) << level])


def root_of(size: int) -> bytes:
    tree = Tree()
    tree.extend(LEAVES[:size])
    return tree.root()


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = by_definition(leaves[:split]), by_definition(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def subproof(old: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2, word for word."""
    if old == len(leaves):
        return [] if whole else [by_definition(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if old <= split:
        return [*subproof(old, leaves[:split], whole), by_definition(leaves[split:])]
    return [*subproof(old - split, leaves[split:], False), by_definition(leaves[:split])]


@pytest.fixture(scope="module")
def reference() -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree("sha256")
    for body in BODIES:
        tree.append_entry(body)
    return tree


def test_known_hashes() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert Tree().root() == EMPTY_ROOT


def test_every_root_is_the_defined_one_and_pymerkles(reference: pymerkle.InmemoryTree) -> None:
    tree = Tree()
    for size, leaf in enumerate(LEAVES, start=1):
        tree.append(leaf)
        assert tree.root() == by_definition(LEAVES[:size]) == reference.get_root(size)
        assert Tree.load(size, tree.packed()).root() == tree.root()


@given(SIZES, st.data())
def test_inclusion_proofs_are_pymerkles_and_verify(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = build_proof(inclusion_spans(index, size), of)
    assert verify_inclusion(index, size, LEAVES[index], proof, root_of(size))
    reference = pymerkle.InmemoryTree("sha256")
    for body in BODIES[:size]:
        reference.append_entry(body)
    theirs = reference.prove_inclusion(index + 1, size)
    assert theirs.path == [LEAVES[index], *proof]
    pymerkle.verify_inclusion(LEAVES[index], root_of(size), theirs)


@given(SIZES, SIZES)
def test_consistency_proofs_are_the_defined_ones_and_verify(one: int, other: int) -> None:
    old, new = min(one, other), max(one, other)
    proof = build_proof(consistency_spans(old, new), of)
    assert list(proof) == subproof(old, LEAVES[:new], True)
    assert verify_consistency(old, new, root_of(old), root_of(new), proof)


@given(SIZES, SIZES)
def test_pymerkle_proves_the_same_two_roots_consistent(reference: pymerkle.InmemoryTree, one: int, other: int) -> None:
    old, new = min(one, other), max(one, other)
    theirs = reference.prove_consistency(old, new)
    pymerkle.verify_consistency(root_of(old), root_of(new), theirs)


def flipped(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8 % len(value)] ^= 1 << bit % 8
    return bytes(changed)


@given(st.integers(2, len(LEAVES)), st.data())
def test_an_altered_inclusion_proof_never_verifies(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = list(build_proof(inclusion_spans(index, size), of))
    root, leaf, bit = root_of(size), LEAVES[index], data.draw(st.integers(0, 255))
    at = data.draw(st.integers(0, len(proof) - 1))
    assert not verify_inclusion(index, size, leaf, [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]], root)
    assert not verify_inclusion(index, size, leaf, proof[:-1], root)
    assert not verify_inclusion(index, size, leaf, [*proof, root], root)
    assert not verify_inclusion(index, size, flipped(leaf, bit), proof, root)
    assert not verify_inclusion(index, size, leaf, proof, flipped(root, bit))
    for wrong in (-1, size, (index + 1) % size):
        assert not verify_inclusion(wrong, size, leaf, proof, root)


@given(st.integers(1, len(LEAVES) - 1), st.data())
def test_a_fork_never_verifies(old: int, data: st.DataObject) -> None:
    new = data.draw(st.integers(old + 1, len(LEAVES)))
    proof = build_proof(consistency_spans(old, new), of)
    other_old = Tree()
    other_old.extend([*LEAVES[: old - 1], leaf_hash(b"another")])
    assert not verify_consistency(old, new, other_old.root(), root_of(new), proof)
    assert not verify_consistency(old, new, root_of(old), flipped(root_of(new), 3), proof)
    assert not verify_consistency(old, new, root_of(old), root_of(new), proof[:-1])
    assert not verify_consistency(old, new, root_of(old), root_of(new), [*proof, root_of(new)])
    assert not verify_consistency(new, old, root_of(new), root_of(old), proof)


def test_an_empty_tree_is_consistent_with_every_tree() -> None:
    assert verify_consistency(0, 5, EMPTY_ROOT, root_of(5), [])
    assert not verify_consistency(0, 5, root_of(1), root_of(5), [])
    with pytest.raises(ValueError, match="0 < old"):
        consistency_spans(0, 5)


def test_tiles_come_when_they_are_full() -> None:
    leaves = [leaf_hash(b"%d" % n) for n in range(TILE * 3 + 7)]
    tree = Tree()
    full: list[Tile] = []
    for at in range(0, len(leaves), 100):
        full += tree.extend(leaves[at : at + 100])
    expected = [Tile(0, n, perfect_root(leaves[n * TILE : (n + 1) * TILE])) for n in range(3)]
    assert full == expected


def test_a_tile_of_tiles_is_named_by_its_level() -> None:
    tree = Tree(TILE * TILE - 1, [leaf_hash(b"%d" % n) for n in range(16)])
    full = tree.extend([leaf_hash(b"last")])
    assert [(tile.level, tile.number) for tile in full] == [(0, TILE - 1), (1, 0)]
    assert full[1].root == tree.root()


def test_peaks_that_do_not_fit_the_size_are_refused() -> None:
    for size, packed in ((3, b"x" * 32), (-1, b""), (1, b"x" * 31), (0, b"x" * 32)):
        with pytest.raises(ValueError, match="fit"):
            Tree.load(size, packed)


def test_an_index_outside_the_tree_has_no_proof() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 3)):
        with pytest.raises(ValueError, match="outside"):
            inclusion_spans(index, size)


def test_fold_joins_from_the_right() -> None:
    a, b, c = LEAVES[:3]
    assert fold([a, b, c]) == node_hash(a, node_hash(b, c))
