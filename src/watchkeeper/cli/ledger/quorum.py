"""verify with a policy: the newest checkpoint that its quorum cosigned is the anchor.

The policy is judged here, in this process: of the daemon or the export nothing but the checkpoint is taken.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchkeeper.core.errors import InputError

if TYPE_CHECKING:
    from watchkeeper.cli.client import Client


def refuse_both(anchor: Path | None, policy: Path | None) -> None:
    if anchor is not None and policy is not None:
        raise InputError(
            "--anchor and --policy each name the checkpoint to start from",
            cause="one run of verify holds the log against one of them",
            next_step="run verify twice, once with each",
        )


def anchor_of_daemon(client: Client, policy: Path) -> str | None:
    """What the daemon has that the policy calls valid; None if there is none."""
    from watchkeeper.ledger.cosigning.quorum import read_policy
    from watchkeeper.ledger.signing.note import VerifierKey

    read = read_policy(policy)
    text = policy.read_text(encoding="utf-8", errors="replace")
    note: str | None = client.post("/v1/ledger/cosigned", {"policy": text})["checkpoint"]
    if note is not None:
        read.open(note, () if read.logs else [VerifierKey.from_vkey(client.get("/v1/ledger/key")["vkey"])])
    return note


def anchor_of_export(directory: Path, policy: Path, vkey: str) -> str | None:
    from watchkeeper.ledger.cosigning.cosigned import newest_in
    from watchkeeper.ledger.cosigning.quorum import read_policy
    from watchkeeper.ledger.exports.export import exported_cosigned
    from watchkeeper.ledger.exports.layout import CHECKPOINT
    from watchkeeper.ledger.signing.note import VerifierKey

    read, known = read_policy(policy), [VerifierKey.from_vkey(vkey)]
    if not read.quorum:
        note = (directory / CHECKPOINT).read_text(encoding="utf-8", errors="replace")
        read.open(note, known)
        return note
    valid = (newest_in([each], read, known) for each in exported_cosigned(directory))
    newest = deque((note for note in valid if note is not None), maxlen=1)
    return newest[0] if newest else None


def without_quorum(report: dict[str, Any]) -> dict[str, Any]:
    """The report with what is missing: no checkpoint has the cosignatures that the policy asks for."""
    from watchkeeper.ledger.checks.audit import Code, Problem, VerifyReport

    read = VerifyReport.model_validate(report)
    problem = Problem(where="policy", code=Code.NO_QUORUM)
    return read.model_copy(update={"ok": False, "problems": (*read.problems, problem)}).model_dump(mode="json")
