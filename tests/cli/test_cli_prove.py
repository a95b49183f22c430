"""Proofs and exports as people take them away and check them without a daemon."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed.faces import Served

from watchkeeper.cli import unpack
from watchkeeper.core.errors import UnavailableError
from watchkeeper.ledger.cosigning.cosignature import CosigningKey
from watchkeeper.ledger.signing.keys import SigningKey

from .conftest import Cli

WITNESS = CosigningKey.generate("witness.example/1").public.vkey
OTHER = SigningKey.generate("watchkeeper.example.com/other").verifier.vkey


def test_a_proof_is_made_and_checked_without_a_daemon(
    cli: Cli, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof, entry, vkey = tmp_path / "a.tlog-proof", tmp_path / "a.json", cli("ledger", "key").out.strip()
    made = cli("ledger", "prove", "2", "-o", str(proof), "--entry", str(entry))
    assert (made.code, made.out) == (0, f"wrote {proof}\n")
    assert cli("ledger", "prove", "2").out == proof.read_text()
    monkeypatch.setenv("WATCHKEEPER_API_URL", "http://127.0.0.1:1")
    check = ("ledger", "prove", "--check", str(proof), "--entry", str(entry))
    told = cli(*check, "--vkey", vkey)
    assert told.code == 0, told.err
    assert "entry 2 is in it" in told.out
    (tmp_path / "vkey").write_text(vkey)
    assert cli(*check, "--vkey", str(tmp_path / "vkey"), "--json").json["index"] == 2
    entry.write_bytes(entry.read_bytes() + b"\n")
    assert cli(*check, "--vkey", vkey).code == 0, "an editor's last newline is no difference"
    entry.write_bytes(entry.read_bytes().replace(b"1.0", b"1.1"))
    assert cli(*check, "--vkey", vkey).code == 10
    assert cli(*check, "--vkey", OTHER).code == 10
    entry.write_bytes(entry.read_bytes().replace(b"1.1", b"1.0"))
    policy = tmp_path / "policy"
    policy.write_text("quorum none\n")
    assert cli(*check, "--vkey", vkey, "--policy", str(policy)).code == 0
    policy.write_text(f"witness w {WITNESS}\nquorum w\n")
    asked = cli(*check, "--vkey", vkey, "--policy", str(policy))
    assert (asked.code, "the quorum w is not met" in asked.err) == (10, True)
    assert cli(*check).code == 2


def test_growth_is_proven_against_what_you_remember(cli: Cli, served: Served, tmp_path: Path) -> None:
    anchor, proof, vkey = tmp_path / "anchor", tmp_path / "proof", cli("ledger", "key").out.strip()
    anchor.write_text(cli("ledger", "checkpoint").out)
    size = anchor.read_text().split("\n")[1]
    assert cli("ledger", "prove", "--from", size, "-o", str(proof)).code == 0
    check = ("ledger", "prove", "--check", str(proof), "--anchor", str(anchor), "--vkey", vkey)
    assert f"it only grew since {size} entries" in cli(*check).out
    assert cli("ledger", "prove", "--from", "1", "--to", size, "-o", str(proof)).code == 0
    assert cli(*check).code == 10, "a proof from another size"
    assert cli("ledger", "prove", "--from", "999").code == 4


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("1", "--from", "1"),
        ("1", "--vkey", "x"),
        ("--from", "1", "--entry", "x"),
        ("--check", "x", "--entry", "x", "--vkey", "x", "1"),
        ("--check", "x", "--entry", "x", "--anchor", "x", "--vkey", "x"),
        ("--check", "nowhere", "--entry", "nowhere", "--vkey", OTHER),
    ],
)
def test_words_that_do_not_fit_together_are_refused(cli: Cli, served: Served, words: tuple[str, ...]) -> None:
    assert cli("ledger", "prove", *words).code == 2


@pytest.mark.parametrize("form", ["jsonl", "tiles", "both"])
def test_every_format_of_an_export_verifies(cli: Cli, served: Served, tmp_path: Path, form: str) -> None:
    directory, vkey = tmp_path / "out", cli("ledger", "key").out.strip()
    said = cli("ledger", "export", str(directory), "--format", form, "--json")
    assert (said.code, said.json["format"]) == (0, form), said.err
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert said.json["files"] == len(files)
    assert cli("ledger", "verify", "--export", str(directory), "--vkey", vkey).code == 0
    if form != "jsonl":
        (tile,) = (directory / "tile" / "entries" / "000.p").iterdir()
        tile.write_bytes(tile.read_bytes()[:-1])
        assert cli("ledger", "verify", "--export", str(directory), "--vkey", vkey).code == 10


def archive(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(body), kind
            tar.addfile(info, io.BytesIO(body))
    return made.getvalue()


def in_pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 700):
        yield data[at : at + 700]


WHOLE = (("checkpoint", b"a\n1\n"), ("tile/0/000.p/1", bytes(32)), ("vkey", b"k\n"))


def test_an_export_is_unpacked_as_it_comes(tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []
    assert unpack.unpack(in_pieces(archive(*WHOLE)), tmp_path, lambda *each: seen.append(each)) == 3
    assert tuple(seen) == WHOLE
    assert (tmp_path / "tile/0/000.p/1").read_bytes() == bytes(32)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no tar at all",
        archive(*WHOLE)[:1800],
        archive(*WHOLE[:2]),
        archive(("../vkey", b"")),
        archive(("/etc/vkey", b"")),
        archive(("tile/../vkey", b"")),
        archive(("tile/0/../000", b"")),
        archive(("other", b""), *WHOLE),
        archive(*WHOLE, *WHOLE),
        archive(("vkey", b""), kind=tarfile.SYMTYPE),
        archive(("vkey", b""), kind=tarfile.FIFOTYPE),
        archive(("tile", b""), kind=tarfile.DIRTYPE),
    ],
)
def test_what_is_not_a_whole_export_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UnavailableError, match="not a whole export"):
        unpack.unpack(in_pieces(data), tmp_path / "in", lambda *_: None)
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
