"""Checkpoints: the specification's example, strict reading, and whose key may sign them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.errors import VerificationError
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note, b64

SPEC_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
ROOT = b64(bytes(32))


def test_the_specification_s_example_reads_and_writes_back() -> None:
    note = Note.from_text(SPEC_CHECKPOINT)
    checkpoint = Checkpoint.from_text(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert Note(checkpoint.to_text(), note.signatures).to_text() == SPEC_CHECKPOINT


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)


@given(words, st.integers(0, 2**62), st.binary(min_size=32, max_size=32), st.lists(words, max_size=3))
def test_reading_what_was_written_gives_the_same_checkpoint(
    origin: str, size: int, root: bytes, extensions: list[str]
) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.from_text(checkpoint.to_text()) == checkpoint


@given(st.text(max_size=80))
def test_whatever_is_read_at_all_is_written_back_unchanged(text: str) -> None:
    for candidate in (text, f"o\n{text}\n{ROOT}\n", f"o\n1\n{text}\n", f"{text}\n12\n{ROOT}\n"):
        try:
            checkpoint = Checkpoint.from_text(candidate)
        except VerificationError:
            continue
        assert checkpoint.to_text() == candidate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n7\n",
        f"o\n07\n{ROOT}\n",
        f"o\n-7\n{ROOT}\n",
        f"o\n٧\n{ROOT}\n",
        f"o\n{'9' * 5000}\n{ROOT}\n",
        "o\n7\nAAAA\n",
        f"o\n7\n{ROOT}",
        f"o\n7\n{ROOT}\n\next\n",
        f"\n7\n{ROOT}\n",
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match="not a checkpoint"):
        Checkpoint.from_text(text)


def test_only_the_log_s_own_key_signs_its_checkpoints() -> None:
    ours, foreign = SigningKey.generate("ours.example/log"), SigningKey.generate("theirs.example/log")
    checkpoint = Checkpoint("ours.example/log", 3, bytes(32))
    assert open_checkpoint(sign_checkpoint(checkpoint, ours), [ours.verifier]) == checkpoint
    with pytest.raises(VerificationError, match="signed by theirs"):
        open_checkpoint(sign_checkpoint(checkpoint, foreign), [foreign.verifier])
    with pytest.raises(VerificationError, match="no known key"):
        open_checkpoint(sign_checkpoint(checkpoint, ours), [SigningKey.generate("ours.example/log").verifier])
