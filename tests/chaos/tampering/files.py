"""Changes of what was taken out of the log: an export as lines, an export as tiles, a proof.

Each checks its own files, as whoever received them would, and returns the places told and the places meant.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.chaos.tampering.world import World
from watchkeeper.core.errors import VerificationError, WatchkeeperError
from watchkeeper.ledger.exports.export import verify_export
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.signing.note import VerifierKey
from watchkeeper.ledger.tree.proof import TlogProof


class Told(NamedTuple):
    """`places` is empty where nothing was found."""

    places: set[str]
    meant: set[str]


def line_changed(world: World, rng: random.Random) -> Told:
    """One line of the entries has another bit, is gone, doubled, or stands elsewhere."""
    directory = _export(world, "lines")
    file = directory / "entries.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1]
    at = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            lines[at] = _flipped(lines[at], rng)
        case 1:
            del lines[at]
        case 2:
            lines.insert(at, lines[at])
        case _:
            other = rng.choice([n for n in range(len(lines)) if n != at])
            lines[at], lines[other] = lines[other], lines[at]
            at = min(at, other)
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return Told(_checked(world, directory), _near(world, at))


def lines_cut(world: World, rng: random.Random) -> Told:
    directory = _export(world, "lines")
    file = directory / "entries.jsonl"
    raw = file.read_bytes()
    file.write_bytes(raw[: rng.randrange(len(raw))])
    return Told(_checked(world, directory), {str(file), *_beyond(world)})


def tile_file(world: World, rng: random.Random) -> Told:
    """A tile or a bundle has another bit, is shorter, or is gone."""
    directory = _export(world, "tiles")
    file = rng.choice(sorted(each for each in (directory / "tile").rglob("*") if each.is_file()))
    raw = file.read_bytes()
    match rng.randrange(3):
        case 0:
            file.write_bytes(_flipped(raw, rng))
        case 1:
            file.write_bytes(raw[: rng.randrange(len(raw))])
        case _:
            file.unlink()
    name = str(file.relative_to(directory))
    return Told(_checked(world, directory), {name, *_entries_of(name), *_beyond(world)})


def exported_checkpoint(world: World, rng: random.Random) -> Told:
    """The newest checkpoint, or one of all, is another one."""
    directory = _export(world, rng.choice(("lines", "tiles")))
    if rng.random() < 0.5:
        file = directory / "checkpoint"
        file.write_bytes(_flipped(file.read_bytes(), rng, printable=True))
        return Told(_checked(world, directory), {"checkpoint"})
    file = directory / "checkpoints.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1]
    at = rng.randrange(len(lines))
    size = lines[at].split(b"\\n")[1].decode()
    lines[at] = _flipped(lines[at], rng, printable=True)
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return Told(_checked(world, directory), {f"checkpoint {size}", "checkpoint 0", str(file), *_claimed(lines[at])})


def proof(world: World, rng: random.Random) -> Told:
    """One sign of a proof, or one bit of the entry that it is shown with."""
    text, body = rng.choice(world.honest.proofs)
    if rng.random() < 0.7:
        text = _flipped(text.encode(), rng, printable=True).decode()
    else:
        body = _flipped(body, rng)
    return Told(_proven(world, text, body), {"proof"})


def proof_of_another(world: World, rng: random.Random) -> Told:
    """A good proof with an entry that it is not of."""
    (text, _), (_, body) = rng.sample(world.honest.proofs, 2)
    return Told(_proven(world, text, body), {"proof"})


def _export(world: World, form: str) -> Path:
    directory = world.directory / "export"
    shutil.copytree(world.honest.directory / form, directory)
    return directory


def _checked(world: World, directory: Path) -> set[str]:
    try:
        report = verify_export(directory, world.honest.vkey, world.honest.anchor)
    except WatchkeeperError as error:
        return {error.place}
    return {problem.where for problem in report.problems}


def _proven(world: World, text: str, body: bytes) -> set[str]:
    try:
        read = TlogProof.from_text(text)
        read.prove(body, open_checkpoint(read.note.to_text(), [VerifierKey.from_vkey(world.honest.vkey)]))
    except VerificationError:
        return {"proof"}
    return set()


def _near(world: World, index: int) -> set[str]:
    """A line has no leaf beside it: its checkpoint tells, or the line itself where it is no entry at all."""
    covering = min(size for size in world.honest.sizes if size > index)
    return {f"entry {index}", f"checkpoint {covering}", *_beyond(world)}


def _beyond(world: World) -> set[str]:
    """What is told where entries are missing at the end."""
    return {"checkpoint", f"anchor {world.honest.sizes[-1]}", *(f"checkpoint {size}" for size in world.honest.sizes)}


def _claimed(line: bytes) -> set[str]:
    parts = line.split(b"\\n")
    return {f"checkpoint {parts[1].decode(errors='replace')}"} if len(parts) > 1 else set()


def _entries_of(name: str) -> set[str]:
    """A bundle that cannot be read is told by the entries that are then missing."""
    return {f"entry {256 * n}" for n in range(4)} if name.startswith("tile/entries") else set()


def _flipped(raw: bytes, rng: random.Random, *, printable: bool = False) -> bytes:
    """Another bit somewhere; `printable` keeps the file text: one ASCII sign becomes another letter or digit."""
    changed = bytearray(raw)
    if not printable:
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    at = rng.choice([n for n, byte in enumerate(raw) if 0x20 < byte < 0x7F])
    changed[at] = rng.choice([byte for byte in b"0123456789abcXYZ" if byte != raw[at]])
    return bytes(changed)


KINDS: tuple[Callable[[World, random.Random], Told], ...] = (
    line_changed,
    lines_cut,
    tile_file,
    exported_checkpoint,
    proof,
    proof_of_another,
)
