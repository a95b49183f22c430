"""Which key is good for which checkpoint, over random rotations: an honest log holds for whoever trusts one of its
keys, and a retired key is good for nothing that came after it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testbed.ledgers import ORIGIN, draft

from watchkeeper.core.entries import GENESIS_PREV, Draft, EntryType, Envelope, KeyRotated
from watchkeeper.core.errors import VerificationError
from watchkeeper.ledger.checks.audit import Audit, Code, VerifyReport
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keychain import KeyChain, Rotation, rotation_in
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import VerifierKey
from watchkeeper.ledger.snapshot import Page, Rows
from watchkeeper.ledger.tree.merkle import Tree, leaf_hash

KEYS = [SigningKey.generate(ORIGIN) for _ in range(6)]
STRANGER = SigningKey.generate(ORIGIN)


@dataclass
class Paper:
    """A log without a database: entries, checkpoints, and the keys that were in force."""

    bodies: list[bytes] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    eras: list[int] = field(default_factory=list)
    """Of each checkpoint, which key it should have (the greater one where two signed)."""
    era: int = 0

    def add(self, *drafts: Draft) -> None:
        for each in drafts:
            prev = hashlib.sha256(self.bodies[-1]).hexdigest() if self.bodies else GENESIS_PREV
            entry = Envelope(
                id=f"ent_{len(self.bodies)}",
                source=f"{ORIGIN}/main",
                type=each.type,
                time=datetime(2026, 1, 2, tzinfo=UTC),
                subject=each.subject,
                wkseq=len(self.bodies) + 1,
                wkprev=prev,
                data=each.data.model_dump(mode="json"),
            )
            self.bodies.append(entry.to_bytes())

    def checkpoint(self) -> Checkpoint:
        tree = Tree()
        tree.extend(map(leaf_hash, self.bodies))
        return Checkpoint(ORIGIN, tree.size, tree.root())

    def sign(self, *keys: SigningKey) -> None:
        self.notes.append((len(self.bodies), sign_checkpoint(self.checkpoint(), *keys)))
        self.eras.append(self.era)

    def batch(self, count: int) -> None:
        self.add(*(draft(n + 1) for n in range(count)))
        self.sign(KEYS[self.era])

    def rotate(self, count: int) -> None:
        """A batch of so many entries and the rotation."""
        previous, following = KEYS[self.era], KEYS[self.era + 1]
        said = KeyRotated(previous=previous.verifier.vkey, following=following.verifier.vkey)
        rotated = Draft(type=EntryType.KEY_ROTATED, subject="", data=said)
        self.add(*(draft(n + 1) for n in range(count)), rotated)
        self.era += 1
        self.sign(previous, following)

    def rotations(self) -> list[Rotation]:
        found = (rotation_in(index, body) for index, body in enumerate(self.bodies))
        return [each for each in found if each is not None]

    def verify(self, *trusted: VerifierKey, anchor: str | None = None) -> VerifyReport:
        audit = Audit(trusted, anchor, self.rotations())
        audit.page(Page(Rows(range(len(self.bodies)), self.bodies), self.notes))
        return audit.report()


@st.composite
def papers(draw: st.DrawFn, least: int = 0) -> Paper:
    """Batches, with a rotation between some of them."""
    paper = Paper()
    for last in [*[False] * draw(st.integers(least, len(KEYS) - 1)), True]:
        for count in draw(st.lists(st.integers(1, 3), min_size=0 if paper.notes else 1, max_size=3)):
            paper.batch(count)
        if not last:
            paper.rotate(draw(st.integers(0, 2)))
    return paper


@given(papers(), st.data())
def test_an_honest_log_holds_for_whoever_trusts_one_of_its_keys(paper: Paper, data: st.DataObject) -> None:
    trusted = KEYS[data.draw(st.integers(0, paper.era))].verifier
    _, anchor = data.draw(st.sampled_from(paper.notes))
    report = paper.verify(trusted, anchor=anchor)
    assert (report.ok, report.problems) == (True, ())
    assert (report.signed, report.checkpoints, report.rollback) == (len(paper.bodies), len(paper.notes), "excluded")


@given(papers(least=1), st.data())
def test_invariant_8_a_checkpoint_signed_again_by_a_retired_key_is_found(paper: Paper, data: st.DataObject) -> None:
    later = [at for at, era in enumerate(paper.eras) if era > 0]
    at = data.draw(st.sampled_from(later))
    retired = KEYS[data.draw(st.integers(0, paper.eras[at] - 1))]
    size, _ = paper.notes[at]
    cut = replace(paper, bodies=paper.bodies[:size])
    paper.notes[at] = (size, sign_checkpoint(cut.checkpoint(), retired))
    for trusted in KEYS[: paper.era + 1]:
        report = paper.verify(trusted.verifier)
        assert (f"checkpoint {size}", Code.BAD_CHECKPOINT) in {(each.where, each.code) for each in report.problems}
        assert f"anchor {size}" not in {each.where for each in report.problems}
        held = paper.verify(trusted.verifier, anchor=paper.notes[at][1])
        assert ("anchor", Code.BAD_ANCHOR) in {(each.where, each.code) for each in held.problems}


@given(papers())
def test_a_key_that_was_never_the_log_s_opens_nothing(paper: Paper) -> None:
    report = paper.verify(STRANGER.verifier)
    assert (report.ok, report.signed) == (False, 0)


def with_one_rotation() -> Paper:
    paper = Paper()
    paper.batch(2)
    paper.rotate(1)
    paper.batch(2)
    return paper


def test_without_the_checkpoint_of_both_keys_the_older_key_vouches_for_nothing_later() -> None:
    paper = with_one_rotation()
    del paper.notes[1]
    newest, oldest = paper.verify(KEYS[1].verifier), paper.verify(KEYS[0].verifier)
    assert newest.problems[0].where == "checkpoint 6", "the handing over itself is missing"
    assert (oldest.signed, newest.signed) == (2, 2)
    paper.batch(1)
    assert paper.verify(KEYS[1].verifier).signed == 7, "what the trusted key signs needs nobody else"
    assert paper.verify(KEYS[0].verifier).signed == 2


def test_one_of_both_signatures_is_not_enough() -> None:
    paper = with_one_rotation()
    size, _ = paper.notes[1]
    cut = replace(paper, bodies=paper.bodies[:size])
    for alone in KEYS[:2]:
        paper.notes[1] = (size, sign_checkpoint(cut.checkpoint(), alone))
        for trusted in KEYS[:2]:
            assert f"checkpoint {size}" in {each.where for each in paper.verify(trusted.verifier).problems}


def test_a_thief_of_a_retired_key_cannot_lead_whoever_trusts_the_newest() -> None:
    """The log is cut before the rotation and goes on with a rotation to the thief's own key."""
    paper = Paper()
    paper.batch(2)
    said = KeyRotated(previous=KEYS[0].verifier.vkey, following=STRANGER.verifier.vkey)
    paper.add(Draft(type=EntryType.KEY_ROTATED, subject="", data=said))
    paper.sign(KEYS[0], STRANGER)
    report = paper.verify(KEYS[1].verifier)
    assert (report.ok, report.signed) == (False, 0)


def test_a_retired_key_does_not_come_back() -> None:
    paper = with_one_rotation()
    said = KeyRotated(previous=KEYS[1].verifier.vkey, following=KEYS[0].verifier.vkey)
    paper.add(Draft(type=EntryType.KEY_ROTATED, subject="", data=said))
    paper.sign(KEYS[1], KEYS[0])
    paper.batch(1)
    assert paper.verify(KEYS[1].verifier).ok, "a second rotation that does not count changes nothing"
    paper.add(draft())
    paper.sign(KEYS[0])
    assert not paper.verify(KEYS[1].verifier).ok


def test_two_rotations_under_one_checkpoint_need_three_signatures() -> None:
    paper = Paper()
    paper.batch(1)
    paper.rotate(0)
    paper.notes.pop()
    paper.rotate(0)
    paper.notes[-1] = (3, sign_checkpoint(paper.checkpoint(), *KEYS[:3]))
    paper.batch(1)
    assert all(paper.verify(key.verifier).ok for key in KEYS[:3])
    paper.notes[1] = (3, sign_checkpoint(replace(paper, bodies=paper.bodies[:3]).checkpoint(), KEYS[0], KEYS[2]))
    assert not paper.verify(KEYS[0].verifier).ok


@pytest.mark.parametrize(
    "edit",
    [
        (b"dev.watchkeeper.ledger.key.v1", b"dev.watchkeeper.ledger.kez.v1"),
        (b'"previous"', b'"precious"'),
        (b"+A", b"+B"),
        (b'{"data"', b'{"date"'),
    ],
)
def test_what_is_not_exactly_a_rotation_is_none(edit: tuple[bytes, bytes]) -> None:
    body = with_one_rotation().bodies[3]
    found = rotation_in(3, body)
    assert found == Rotation(3, KEYS[0].verifier, KEYS[1].verifier)
    assert rotation_in(3, body.replace(*edit)) is None


def test_an_entry_that_only_mentions_a_rotation_is_none() -> None:
    body = with_one_rotation().bodies[0].replace(b'"reason":"test"', b'"type":"dev.watchkeeper.ledger.key.v1"')
    assert rotation_in(0, body) is None


def test_the_error_says_whose_handing_over_is_missing() -> None:
    paper = with_one_rotation()
    chain = KeyChain([KEYS[0].verifier], paper.rotations())
    chain.open(*paper.notes[0])
    with pytest.raises(VerificationError, match=KEYS[1].verifier.key_id.hex()):
        chain.open(*paper.notes[2])
