"""Checks an archive by itself, with nothing but the keys you trust: manifests and their chain, every object, every
bundle against its tiles, every root against its signed checkpoint.

Only what the manifests lead to is looked at. An archive that was cut off after a manifest looks like one that had not
come further yet: the ledger's newest entry of an archive says where it ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from watchkeeper.core.digest import sha256
from watchkeeper.core.errors import InputError, VerificationError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.archive.files import File, Frontier, SegmentFiles, hashes_of, tile_name, unbundle
from watchkeeper.ledger.archive.manifest import Manifest, manifest_name
from watchkeeper.ledger.archive.storage import Storage
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.signing.keychain import KeyChain, Rotation, rotation_in
from watchkeeper.ledger.signing.note import Note, VerifierKey, b64
from watchkeeper.ledger.tree.merkle import HASH_BYTES, TILE

MAX_PROBLEMS = 100


class ArchiveCode(StrEnum):
    """What is wrong. Stable names."""

    MISSING = "missing_object"
    DIFFERS = "object_differs"
    BAD_MANIFEST = "bad_manifest"
    CHAIN = "chain_broken"
    BAD_CHECKPOINT = "bad_checkpoint"
    ROOT = "checkpoint_root"
    LEAF = "leaf_differs"
    NOT_RECORDED = "not_recorded"


class ArchiveProblem(Contract):
    """`where` is an object's name, or `entry 17`."""

    where: str
    code: ArchiveCode


class ArchiveCheckReport(Contract):
    """`end` is where the archive ends: it holds the entries below. `compared` of them were held against a database."""

    ok: bool
    place: str
    end: int
    segments: int
    compared: int = 0
    problems: tuple[ArchiveProblem, ...] = ()
    more_problems: int = 0

    def lines(self) -> tuple[str, ...]:
        """The report for people."""
        verdict = "the archive holds" if self.ok else "THE ARCHIVE DOES NOT HOLD"
        compared = f", {self.compared} of them compared with the database" if self.compared else ""
        found = [f"{problem.where}: {problem.code}" for problem in self.problems]
        if self.more_problems:
            found.append(f"and {self.more_problems} more")
        return (verdict, f"{self.end} entries in {self.segments} segments{compared}", self.place, *found)


class Bundle(NamedTuple):
    """256 entries that were looked at; `leaves` are their hashes."""

    first: int
    leaves: Sequence[bytes]


class ArchiveCheck:
    """`rotations` are those that are known from elsewhere, where not the whole archive is walked."""

    def __init__(self, storage: Storage, keys: Sequence[VerifierKey], rotations: Iterable[Rotation] = ()) -> None:
        self._storage, self._keys = storage, tuple(keys)
        self._rotations = {each.index: each for each in rotations}
        self._notes: list[tuple[str, str]] = []
        """Checkpoints whose key is yet to be judged: a rotation further on may be what names it."""
        self._problems: list[ArchiveProblem] = []
        self._more = 0
        self.end = self.segments = self.compared = 0
        self.reaches = 0
        """Where the segment that is looked at ends."""
        self.digests: dict[int, str] = {}
        """Of each manifest that was read, by its first entry."""

    def problem(self, where: str, code: ArchiveCode) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(ArchiveProblem(where=where, code=code))
        else:
            self._more += 1

    def report(self) -> ArchiveCheckReport:
        chain = KeyChain(self._keys, self._rotations.values())
        for name, note in self._notes:
            try:
                chain.remembered(note)
            except VerificationError:
                self.problem(name, ArchiveCode.BAD_CHECKPOINT)
        self._notes.clear()
        return ArchiveCheckReport(
            ok=not self._problems,
            place=self._storage.place,
            end=self.end,
            segments=self.segments,
            compared=self.compared,
            problems=tuple(self._problems),
            more_problems=self._more,
        )

    def walk(self) -> Iterator[Bundle]:
        """The whole archive, one bundle after the other; what is wrong is noted, and the walk goes on if it can."""
        frontier, previous = Frontier(), None
        while True:
            manifest = self.manifest(frontier.tree.size)
            if manifest is None:
                break
            yield from self.segment(manifest, previous, frontier)
            previous = manifest.digest
            if frontier.tree.size != manifest.end:
                break
        if not self.segments and not self._problems:
            self.problem(manifest_name(0), ArchiveCode.MISSING)

    def manifest(self, first: int) -> Manifest | None:
        """The manifest of the segment that begins there, if there is one that can be used."""
        name = manifest_name(first)
        stored = self._storage.get(name)
        if stored is None:
            return None
        try:
            manifest = Manifest.from_bytes(stored.body)
        except VerificationError:
            self.problem(name, ArchiveCode.BAD_MANIFEST)
            return None
        fits = (
            manifest.first == first < manifest.end <= manifest.size < manifest.end + TILE
            and manifest.end % TILE == 0
            and any(manifest.origin == key.name for key in self._keys)
        )
        if not fits:
            self.problem(name, ArchiveCode.BAD_MANIFEST)
            return None
        return manifest

    def segment(self, manifest: Manifest, previous: str | None, frontier: Frontier) -> Iterator[Bundle]:
        """One segment, from where the tree stood before it."""
        name = manifest_name(manifest.first)
        self.digests[manifest.first], self.reaches = manifest.digest, manifest.end
        if manifest.previous != previous:
            self.problem(name, ArchiveCode.CHAIN)
        files, listed = SegmentFiles(frontier, manifest.first), {each.name: each.digest for each in manifest.objects}
        while frontier.tree.size < manifest.end:
            first = frontier.tree.size
            leaves = self._bundle(files, listed)
            if leaves is None:
                return
            yield Bundle(first, leaves)
        if self._edge(manifest, files, listed) and tuple(files.objects) != manifest.objects:
            self.problem(name, ArchiveCode.BAD_MANIFEST)
        self.segments, self.end = self.segments + 1, manifest.end

    def _bundle(self, files: SegmentFiles, listed: dict[str, str]) -> Sequence[bytes] | None:
        """The leaves of the next 256 entries; of a bundle that is spoilt, as its tile says; None if that is, too."""
        number = files.frontier.tree.size // TILE
        name = tile_name("entries", number)
        body = self._object(name, listed)
        try:
            bodies = unbundle(body or b"")
        except ValueError:
            bodies = []
        for index, entry in enumerate(bodies, start=number * TILE):
            if (rotation := rotation_in(index, entry)) is not None:
                self._rotations[index] = rotation
        if len(bodies) == TILE:
            derived = files.bundle(bodies)[1:]
            leaves = hashes_of(derived[0].body)
        else:
            if body is not None and listed.get(name) == sha256(body):
                self.problem(name, ArchiveCode.DIFFERS)
            tile = self._object(tile_name(0, number), listed) or b""
            if len(tile) != TILE * HASH_BYTES:
                return None
            leaves = hashes_of(tile)
            derived = list(files.frontier.add(leaves))[1:]
        for file in derived:
            self._compare(file)
        return leaves

    def _edge(self, manifest: Manifest, files: SegmentFiles, listed: dict[str, str]) -> bool:
        """The root of the segment's end, against its checkpoint. Whether it is what was signed."""
        leaves: list[bytes] = []
        if width := manifest.size - manifest.end:
            tile = self._object(tile_name(0, manifest.end // TILE, width), listed) or b""
            leaves = hashes_of(tile)
        name = f"checkpoints/{manifest.size}"
        note = (self._object(name, listed) or b"").decode(errors="replace")
        try:
            signer = self._signer(note, listed)
            checkpoint = open_checkpoint(note, [signer])
        except (VerificationError, InputError):
            self.problem(name, ArchiveCode.BAD_CHECKPOINT)
            return False
        self._notes.append((name, note))
        said = checkpoint.size == manifest.size and b64(checkpoint.root) == manifest.root
        good = checkpoint.root == files.frontier.root(leaves)
        if not said or not good:
            self.problem(name, ArchiveCode.ROOT)
        for file in files.edge(leaves, manifest.size, note, signer):
            self._compare(file)
        return good

    def _signer(self, note: str, listed: dict[str, str]) -> VerifierKey:
        """The key that the archive has beside a checkpoint. Whether it may be believed is judged at the end."""
        names = [f"vkeys/{line.key_id.hex()}" for line in Note.from_text(note).signatures]
        beside = next((name for name in names if name in listed), names[0])
        return VerifierKey.from_vkey((self._object(beside, listed) or b"").decode(errors="replace"))

    def _object(self, name: str, listed: dict[str, str]) -> bytes | None:
        """An object's bytes, held against the manifest."""
        stored = self._storage.get(name)
        if stored is None:
            self.problem(name, ArchiveCode.MISSING)
            return None
        if listed.get(name) != sha256(stored.body):
            self.problem(name, ArchiveCode.DIFFERS)
        return stored.body

    def _compare(self, file: File) -> None:
        """An object whose bytes follow from others."""
        stored = self._storage.get(file.name)
        if stored is None:
            self.problem(file.name, ArchiveCode.MISSING)
        elif stored.body != file.body:
            self.problem(file.name, ArchiveCode.DIFFERS)
