"""ledger prove: proofs to take away, and their check without a daemon."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.files import bytes_of, text_of
from watchkeeper.core.errors import InputError

if TYPE_CHECKING:
    from watchkeeper.ledger.signing.checkpoint import Checkpoint

HELP = "watchkeeper ledger prove --help"


def register(app: typer.Typer) -> None:
    app.command()(prove)


def prove(
    context: typer.Context,
    which: Annotated[str | None, typer.Argument(metavar="[ENTRY]", help="An entry's index or its id.")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="Write the proof here; usually FILE.tlog-proof.")] = None,
    entry: Annotated[
        Path | None, typer.Option(help="Write the entry's bytes here; with --check: read them from here.")
    ] = None,
    since: Annotated[
        int | None, typer.Option("--from", min=0, help="Prove that the log only grew since it had so many entries.")
    ] = None,
    until: Annotated[
        int | None, typer.Option("--to", min=1, help="With --from: up to the checkpoint of this size.")
    ] = None,
    check: Annotated[Path | None, typer.Option(help="Check this proof, without any daemon.")] = None,
    vkey: Annotated[str | None, typer.Option(help="With --check: the key you trust, as text or a file.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="With --check: a tlog-policy whose quorum must have cosigned the checkpoint.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="With --check of a proof made by --from: the checkpoint you remember.")
    ] = None,
    json: Json = False,
) -> None:
    """A proof that an entry is in the log, or that the log only grew."""
    if check is not None:
        unasked = which is None and since is None and until is None and output is None
        _only(unasked, "--check reads a proof that was made before")
        _told(_checked(check, vkey, policy, entry, anchor), json)
        return
    _only(vkey is None and policy is None and anchor is None, "--vkey, --policy and --anchor are for --check")
    if which is not None:
        _only(since is None and until is None, "a proof is of one ENTRY, or --from a size")
        _given(client(context).text("/v1/ledger/proof", entry=which), output, json)
        if entry is not None:
            _write(entry, client(context).raw("/v1/ledger/entry", entry=which))
        return
    if since is None:
        raise InputError("nothing to prove", cause="neither an ENTRY nor --from is given", next_step=HELP)
    _only(entry is None, "--entry is for the proof of an entry")
    query = {"old": since} if until is None else {"old": since, "new": until}
    _given(client(context).text("/v1/ledger/growth", **query), output, json)


def _only(fits: bool, why: str) -> None:
    if not fits:
        raise InputError(why, next_step=HELP)


def _given(proof: str, output: Path | None, json: bool) -> None:
    if output is not None:
        _write(output, proof.encode())
    if json:
        out.as_json({"proof": proof} if output is None else {"proof": proof, "file": str(output)})
    elif output is None:
        print(proof, end="")
    else:
        out.say(f"wrote {output}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InputError(
            f"cannot write the file: {error.strerror}", place=str(path), next_step="check the path"
        ) from error


def _checked(
    proof: Path, vkey: str | None, policy: Path | None, entry: Path | None, anchor: Path | None
) -> dict[str, str | int]:
    from watchkeeper.core.entries import MAX_ENTRY_BYTES
    from watchkeeper.ledger.cosigning.addcheckpoint import AddCheckpoint
    from watchkeeper.ledger.cosigning.quorum import read_policy
    from watchkeeper.ledger.signing.checkpoint import open_checkpoint
    from watchkeeper.ledger.signing.note import VerifierKey
    from watchkeeper.ledger.tree.proof import MAX_PROOF_BYTES, TlogProof, prove_growth

    if vkey is None or (entry is None) == (anchor is None):
        raise InputError(
            "a proof is checked against a key that you trust, and --entry or --anchor",
            cause="what a proof brings along proves nothing by itself",
            next_step=HELP,
        )
    keys = [VerifierKey.from_vkey((vkey if "+" in vkey else text_of(Path(vkey))).strip())]
    opened = partial(open_checkpoint, keys=keys) if policy is None else partial(read_policy(policy).open, known=keys)
    data = bytes_of(proof, MAX_PROOF_BYTES)
    if entry is not None:
        shown = TlogProof.from_text(data.decode(errors="replace"))
        checkpoint = opened(shown.note.to_text())
        shown.prove(bytes_of(entry, MAX_ENTRY_BYTES + 1).removesuffix(b"\n"), checkpoint)
        return {"index": shown.index, **_facts(checkpoint)}
    assert anchor is not None, "one of the two was given"
    grown = AddCheckpoint.from_bytes(data)
    checkpoint = opened(grown.note.to_text())
    prove_growth(grown, open_checkpoint(text_of(anchor), keys), checkpoint)
    return {"old": grown.old, **_facts(checkpoint)}


def _facts(checkpoint: Checkpoint) -> dict[str, str | int]:
    from watchkeeper.ledger.signing.note import b64

    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": b64(checkpoint.root)}


def _told(facts: dict[str, str | int], json: bool) -> None:
    if json:
        out.as_json({"ok": True, **facts})
        return
    what = f"entry {facts['index']} is in it" if "index" in facts else f"it only grew since {facts['old']} entries"
    out.say(f"{facts['origin']}, {facts['size']} entries: {what}", "bold green")
