"""Cosigned checkpoints as lines of a file: `{"size", "checkpoint", "cosignatures": [{"vkey", "line"}]}`.

Whoever has no Watchkeeper appends the lines to the checkpoint, and opens that with any C2SP implementation. The vkeys
in the file prove nothing by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from watchkeeper.core.model import Contract
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.cosigned import Cosigned
from watchkeeper.ledger.signing.note import MAX_NOTE_BYTES

MAX_LINE_BYTES = 2 * MAX_NOTE_BYTES


class CosignatureLine(Contract):
    vkey: str
    line: str


class CosignedLine(Contract):
    size: int
    checkpoint: str
    cosignatures: tuple[CosignatureLine, ...]


def encode(found: Iterable[Cosigned]) -> bytes:
    """A line for each that has its checkpoint."""
    return b"".join(
        json.dumps(
            {
                "size": each.size,
                "checkpoint": each.note,
                "cosignatures": [{"vkey": vkey, "line": line} for vkey, line in each.lines],
            },
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for each in found
        if each.note is not None
    )


def decode(lines: Iterable[bytes]) -> Iterator[Cosigned]:
    """What cannot be read has the size 0 and no checkpoint, and so does not verify."""
    for line in lines:
        try:
            read = CosignedLine.model_validate_json(line)
        except ValidationError:
            yield Cosigned(0, None, (("", ""),))
        else:
            yield Cosigned(read.size, read.checkpoint, tuple((each.vkey, each.line) for each in read.cosignatures))


def faults(found: Iterable[Cosigned], checkpoints: Iterable[tuple[int, str]]) -> Iterator[str]:
    """Places of what does not verify, or is not of a checkpoint of the same export. Both come in order of size."""
    notes = iter(checkpoints)
    size, note = next(notes, (-1, ""))
    for each in found:
        while 0 <= size < each.size:
            size, note = next(notes, (-1, ""))
        if (size, note) != (each.size, each.note):
            yield f"cosigned {each.size}"
        else:
            yield from cosigned.faults([each])
