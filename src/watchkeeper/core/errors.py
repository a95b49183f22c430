"""One error tree. Each error says what happened, the likely cause, and the next command to run.

`str(error)` is the first line; `diagnostics()` is what the CLI and the API show. Texts never hold secrets:
callers pass names and places, not values.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WatchkeeperError(Exception):
    """The root. `code` is stable and goes into logs, the API and metrics; `exit_code` is the CLI's."""

    code = "error"
    exit_code = 1
    http_status = 500

    def __init__(self, what: str, *, cause: str = "", next_step: str = "", place: str = "") -> None:
        super().__init__(what)
        self.what, self.cause, self.next_step, self.place = what, cause, next_step, place

    def diagnostics(self) -> str:
        lines = [f"{self.place}: {self.what}" if self.place else self.what]
        if self.cause:
            lines.append(f"  likely cause: {self.cause}")
        if self.next_step:
            lines.append(f"  next: {self.next_step}")
        return "\n".join(lines)


class InputError(WatchkeeperError):
    """Something a person or another system gave us is not usable. `place` is file:line or a JSON path. `others` are
    further mistakes in the same thing, each with its place; `what` tells them too."""

    code = "bad_input"
    exit_code = 2
    http_status = 422
    others: tuple[tuple[str, str], ...] = ()

    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """Each mistake by itself: place and what."""
        return ((self.place, self.what.split("\n", 1)[0] if self.others else self.what), *self.others)


class ConfigError(InputError):
    code = "bad_config"


class UnrecordableError(InputError):
    """One thing is too large, or not of a form, to be recorded: no reason to distrust the record of the rest."""

    code = "unrecordable"


class NotFoundError(WatchkeeperError):
    code = "not_found"
    exit_code = 4
    http_status = 404


class ConflictError(WatchkeeperError):
    """The thing changed, was used up, or is held by somebody else."""

    code = "conflict"
    exit_code = 5
    http_status = 409


class ForbiddenError(WatchkeeperError):
    code = "forbidden"
    exit_code = 6
    http_status = 403


class UnavailableError(WatchkeeperError):
    """A part we need does not answer: the daemon, the database, the ledger. Acting stops (invariant 11)."""

    code = "unavailable"
    exit_code = 7
    http_status = 503


class StoreError(UnavailableError):
    code = "store_unavailable"


class LedgerError(UnavailableError):
    code = "ledger_unavailable"


class DisputedError(LedgerError):
    """A witness remembers another log than the one that is here: the record was rolled back or forked."""

    code = "ledger_disputed"


class VerificationError(WatchkeeperError):
    """The ledger, a proof or a checkpoint does not hold. The only error verification raises."""

    code = "verification_failed"
    exit_code = 10


class PolicyDiffersError(WatchkeeperError):
    """A candidate policy would have decided otherwise, in a way that the caller wants to stop at."""

    code = "policy_differs"
    exit_code = 11
    http_status = 409


class UnsettledError(WatchkeeperError):
    """Authority is taken away, and yet something may still land, is not known, or was not undone."""

    code = "unsettled"
    exit_code = 12
    http_status = 409


class PolicyError(InputError):
    code = "bad_policy"


class RunbookError(InputError):
    code = "bad_runbook"


class RefusedError(WatchkeeperError):
    """A claim was refused; `reason` is the gate's name."""

    code = "refused"
    exit_code = 8
    http_status = 409

    def __init__(self, what: str, *, reason: str, cause: str = "", next_step: str = "") -> None:
        super().__init__(what, cause=cause, next_step=next_step)
        self.reason = reason


class AdapterError(WatchkeeperError):
    """A target refused or could not be reached *before* anything was done. `retryable` says whether waiting helps."""

    code = "target_error"
    exit_code = 9
    http_status = 502

    def __init__(
        self,
        what: str,
        *,
        retryable: bool,
        cause: str = "",
        next_step: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(what, cause=cause, next_step=next_step)
        self.retryable, self.retry_after_s = retryable, retry_after_s


def suggest(word: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` or the empty string."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""
