"""Cosignatures against those that witnesses of others made of a public log, and what must not verify."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from watchkeeper.core.errors import ConfigError, InputError, VerificationError
from watchkeeper.ledger.cosigning.cosignature import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    MAX_TIME,
    CosignerKey,
    CosigningKey,
    time_of,
)
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note, NoteKey, SignatureLine, VerifierKey, open_note

PUBLIC_LOG = VerifierKey.from_vkey(
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
PUBLIC_WITNESSES = tuple(
    CosignerKey.from_vkey(vkey)
    for vkey in (
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
        "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    )
)
PUBLIC_CHECKPOINT = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501  # as it was published
SPEC_CHECKPOINT = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501  # as it stands in the specification

TREE = Checkpoint("log.example.com/test", 7, bytes(range(32)))
kinds = st.sampled_from((COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44))
KEYS = {kind: CosigningKey.generate("witness.example.com/w1", kind) for kind in (0x04, 0x06)}


def test_cosignatures_that_others_witnesses_made_of_a_public_log_verify() -> None:
    keys: tuple[NoteKey, ...] = (PUBLIC_LOG, *PUBLIC_WITNESSES)
    read, signed = open_note(PUBLIC_CHECKPOINT, keys)
    assert signed == (PUBLIC_LOG, PUBLIC_WITNESSES[2], PUBLIC_WITNESSES[0], PUBLIC_WITNESSES[1])
    assert {time_of(line) for line in read.signatures[2:]} == {1779573024}
    assert [key.vkey for key in PUBLIC_WITNESSES] == [CosignerKey.from_vkey(k.vkey).vkey for k in PUBLIC_WITNESSES]


def test_a_public_checkpoint_that_was_changed_is_rejected_by_each_of_its_witnesses() -> None:
    changed = PUBLIC_CHECKPOINT.replace("1432088532", "1432088533")
    for key in PUBLIC_WITNESSES:
        with pytest.raises(VerificationError, match="does not fit the text"):
            open_note(changed, [key])


def test_the_specification_s_example_is_read_and_its_time_is_the_one_it_shows() -> None:
    read = Note.from_text(SPEC_CHECKPOINT)
    assert read.to_text() == SPEC_CHECKPOINT
    assert time_of(read.signatures[1]) == 1679315147
    assert len(read.signatures[1].signature) == 72


@pytest.mark.parametrize("kind", [COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44])
def test_what_is_signed_is_byte_for_byte_what_the_specification_says(kind: int) -> None:
    line = KEYS[kind].cosign(TREE.to_text(), 1679315147)
    key = KEYS[kind].public
    assert line.key_id == hashlib.sha256(b"witness.example.com/w1\n" + bytes([kind]) + key.public).digest()[:4]
    time, signature = line.signature[:8], line.signature[8:]
    assert time == struct.pack(">Q", 1679315147)
    if kind == COSIGNATURE_ED25519:
        root = base64.b64encode(bytes(range(32))).decode()
        message = f"cosignature/v1\ntime 1679315147\nlog.example.com/test\n7\n{root}\n"
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message.encode())
    else:
        names = b"\x16witness.example.com/w1" + time + b"\x14log.example.com/test"
        message_bytes = b"subtree/v1\n\x00" + names + struct.pack(">QQ", 0, 7) + bytes(range(32))
        MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message_bytes)


@given(kinds, st.integers(0, MAX_TIME), st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_a_cosignature_verifies_and_any_change_of_it_does_not(kind: int, at: int, size: int, root: bytes) -> None:
    checkpoint = Checkpoint("log.example.com/test", size, root)
    line, key = KEYS[kind].cosign(checkpoint.to_text(), at), KEYS[kind].public
    assert key.verifies(checkpoint.to_text(), line.signature)
    assert time_of(line) == at
    other = Checkpoint(checkpoint.origin, size + 1, root).to_text()
    later = struct.pack(">Q", at ^ 1) + line.signature[8:]
    assert not key.verifies(other, line.signature)
    assert not key.verifies(checkpoint.to_text(), later)
    assert not key.verifies(checkpoint.to_text(), line.signature[:-1])
    assert not key.verifies("no checkpoint\n", line.signature)
    assert SignatureLine.from_line(line.to_text().removesuffix("\n")) == line


def test_extension_lines_are_covered_by_the_ed25519_type() -> None:
    extended = TREE.to_text() + "extension\n"
    line = KEYS[COSIGNATURE_ED25519].cosign(extended, 1)
    assert KEYS[COSIGNATURE_ED25519].public.verifies(extended, line.signature)
    assert not KEYS[COSIGNATURE_ED25519].public.verifies(TREE.to_text(), line.signature)


def test_unknown_cosigners_are_ignored_and_a_known_one_s_bad_signature_rejects_the_note() -> None:
    log = SigningKey.generate(TREE.origin)
    note = sign_checkpoint(TREE, log)
    good, stranger = KEYS[COSIGNATURE_ED25519], CosigningKey.generate("stranger.example")
    both = note + good.cosign(TREE.to_text(), 5).to_text() + stranger.cosign(TREE.to_text(), 5).to_text()
    assert open_note(both, (log.verifier, good.public))[1] == (log.verifier, good.public)
    bad = note + good.cosign(Checkpoint(TREE.origin, 8, TREE.root).to_text(), 5).to_text()
    with pytest.raises(VerificationError, match=r"witness\.example\.com/w1"):
        open_note(bad, (log.verifier, good.public))
    assert open_note(bad, (log.verifier,))[1] == (log.verifier,)


@pytest.mark.parametrize("kind", [COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44])
def test_keys_are_read_as_they_were_written_and_say_nothing_of_themselves(kind: int) -> None:
    key = CosigningKey.generate("w.example", kind)
    secret = key.to_secret().get_secret_value()
    again = CosigningKey.from_secret(SecretStr(secret))
    assert again.public == key.public
    assert CosignerKey.from_vkey(key.public.vkey) == key.public
    assert secret.split("+", 4)[4] not in repr(key)


@pytest.mark.parametrize(
    "secret",
    ["", "PRIVATE+KEY+", "PRIVATE+KEY+a+b+c", SigningKey.generate("w.example").to_secret().get_secret_value()],
    ids=["empty", "prefix", "letters", "a log's key"],
)
def test_what_is_no_cosigner_s_key_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ConfigError, match="witness's key") as refused:
        CosigningKey.from_secret(SecretStr(secret))
    assert len(secret) < 20 or secret[-20:] not in refused.value.diagnostics()


def test_a_log_s_key_is_no_cosigner_s_and_names_are_checked() -> None:
    with pytest.raises(InputError, match="verifier key") as refused:
        CosignerKey.from_vkey(SigningKey.generate("w.example").verifier.vkey)
    assert "type 0x01" in refused.value.cause
    for name in ("", "a b", "a+b", "x" * 256):
        with pytest.raises(ConfigError, match="cannot name a witness"):
            CosigningKey.generate(name)
