"""Signed notes against the published examples of C2SP and of Go's note package, and their strict round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from watchkeeper.core.errors import InputError, VerificationError
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import MAX_SIGNATURES, Note, SignatureLine, VerifierKey, open_note

SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
GO_SECRET = SecretStr("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_OTHER_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
GO_OTHER_SIGNATURE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
SPEC_TWO_PARAGRAPHS = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)


def key(vkey: str) -> VerifierKey:
    return VerifierKey.from_vkey(vkey)


def test_the_specification_s_ed25519_example_verifies() -> None:
    note, signed = open_note(SPEC_NOTE, [key(SPEC_VKEY)])
    assert note.text == "This is an example message.\n"
    assert [k.vkey for k in signed] == [SPEC_VKEY]


def test_the_last_empty_line_separates_text_and_signatures() -> None:
    note = Note.from_text(SPEC_TWO_PARAGRAPHS)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert note.to_text() == SPEC_TWO_PARAGRAPHS


def test_go_s_example_is_signed_byte_for_byte() -> None:
    signer = SigningKey.from_secret(GO_SECRET)
    assert signer.verifier.vkey == GO_VKEY
    assert Note(GO_TEXT, (signer.sign(GO_TEXT),)).to_text() == f"{GO_TEXT}\n{GO_SIGNATURE}"


def test_unknown_signatures_are_ignored_and_known_ones_all_found() -> None:
    both = f"{GO_TEXT}\n{GO_SIGNATURE}{GO_OTHER_SIGNATURE}"
    assert [k.name for k in open_note(both, [key(GO_VKEY)])[1]] == ["PeterNeumann"]
    assert [k.name for k in open_note(both, [key(GO_VKEY), key(GO_OTHER_VKEY)])[1]] == ["PeterNeumann", "EnochRoot"]
    with pytest.raises(VerificationError, match="no known key"):
        open_note(both, [key(SPEC_VKEY)])


def test_a_known_key_s_bad_signature_rejects_the_whole_note() -> None:
    both = f"{GO_TEXT}\n{GO_SIGNATURE}{GO_OTHER_SIGNATURE}".replace("answer", "Answer")
    with pytest.raises(VerificationError, match="does not fit the text"):
        open_note(both, [key(GO_OTHER_VKEY)])
    one_bad = f"{GO_TEXT}\n{GO_SIGNATURE}{GO_OTHER_SIGNATURE.replace('AF1a', 'AF1b')}"
    with pytest.raises(VerificationError, match="EnochRoot"):
        open_note(one_bad, [key(GO_VKEY), key(GO_OTHER_VKEY)])


def test_sixteen_signatures_are_accepted_and_an_endless_list_is_not() -> None:
    signers = [SigningKey.generate(f"witness{n}.example") for n in range(16)]
    note = Note("text\n", tuple(signer.sign("text\n") for signer in signers)).to_text()
    assert len(open_note(note, [signer.verifier for signer in signers])[1]) == 16
    line = signers[0].sign("text\n")
    with pytest.raises(VerificationError, match="too many"):
        Note.from_text(Note("text\n", (line,) * (MAX_SIGNATURES + 1)).to_text())


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        f"text\n{GO_SIGNATURE}",
        "text\n\n",
        f"text\x01\n\n{GO_SIGNATURE}",
        f"text\r\n\n{GO_SIGNATURE}",
        f"text\n\n{GO_SIGNATURE[:-1]}",
        f"text\n\n{GO_SIGNATURE.replace('—', '-')}",
        f"text\n\n{GO_SIGNATURE.replace('PeterNeumann', 'Peter+Neumann')}",
        f"text\n\n{GO_SIGNATURE.replace('PeterNeumann ', '')}",
        "text\n\n— name AAAA\n",
        "text\n\n— name x08go/ZJkuB=\n",
        f"text\ud800\n\n{GO_SIGNATURE}",
        "x" * 1_000_001 + f"\n\n{GO_SIGNATURE}",
    ],
)
def test_what_is_not_exactly_a_note_is_refused(note: str) -> None:
    with pytest.raises(VerificationError, match="not a signed note"):
        Note.from_text(note)


names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="+\x85"), min_size=1, max_size=20
)
lines = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)
signatures = st.builds(SignatureLine, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))


@given(st.lists(lines, min_size=1, max_size=6), st.lists(signatures, min_size=1, max_size=16))
def test_reading_what_was_written_gives_the_same_text(text: list[str], signed: list[SignatureLine]) -> None:
    note = Note("".join(f"{line}\n" for line in text), tuple(signed))
    assert Note.from_text(note.to_text()) == note
    assert Note.from_text(note.to_text()).to_text() == note.to_text()


@given(st.text(max_size=200))
def test_whatever_is_read_at_all_is_written_back_unchanged(text: str) -> None:
    for candidate in (text, f"{text}\n\n{GO_SIGNATURE}", f"{GO_TEXT}\n— {text}\n{GO_SIGNATURE}"):
        try:
            note = Note.from_text(candidate)
        except VerificationError:
            continue
        assert note.to_text() == candidate


def test_a_vkey_is_read_strictly_and_written_back() -> None:
    assert key(SPEC_VKEY).vkey == SPEC_VKEY
    for bad in (
        "",
        "name",
        "name+00000000",
        SPEC_VKEY.replace("530d903a", "530d903b"),
        SPEC_VKEY.replace("foo", "fop"),
        SPEC_VKEY[:-4],
        SPEC_VKEY.replace("+Aeky", "+Beky"),
        f"a b{SPEC_VKEY}",
    ):
        with pytest.raises(InputError, match="verifier key"):
            key(bad)


def test_keys_whose_base64_holds_a_plus_sign_are_read() -> None:
    vkeys = [SigningKey.generate("plus.example").verifier.vkey for _ in range(64)]
    assert any("+" in vkey.split("+", 2)[2] for vkey in vkeys)
    assert [key(vkey).vkey for vkey in vkeys] == vkeys
