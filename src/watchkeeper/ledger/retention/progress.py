"""How far long work has come, for whoever waits for it."""

from __future__ import annotations

from pydantic import Field

from watchkeeper.core.model import Contract


class Progress(Contract):
    """`done` of `total` are through; `total` may still grow. `what` names what is counted (`evidence`, `objects`)."""

    what: str
    done: int = Field(ge=0)
    total: int = Field(ge=0)
