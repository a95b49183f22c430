"""One call as the engine sees it: who, what, how large. No text of the prompt is in it.

Names come partly from the caller (see identity.py): they say which rules a call asks for, they do NOT prove who it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_ID = 200


@dataclass(frozen=True)
class Prices:
    """USD a token."""

    input: float
    output: float


@dataclass(frozen=True)
class Size:
    """How many tokens a prompt has. `upper` is never less than the truth for text; `counted` is the tokenizer's word,
    or at least so many where counting stopped early. `opaque` parts (images, audio, files) are in none of them."""

    upper: int = 0
    estimate: int = 0
    counted: int | None = None
    can_count: bool = True
    opaque: int = 0

    @property
    def likely(self) -> int:
        return self.estimate if self.counted is None else self.counted


@dataclass(frozen=True)
class Request:
    """`agents` and `runs` are all the names a call goes by, the first being the one it is counted under. `fingerprint`
    0: nothing that could repeat. `window` and `prices` None: the gateway does not know them for this model."""

    model: str
    environment: str = ""
    keys: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    size: Size = field(default_factory=Size)
    output: int | None = None
    fingerprint: int = 0
    window: int | None = None
    prices: Prices | None = None

    def names(self, what: str) -> tuple[str, ...]:
        """The values that a rule's field may name."""
        return self._named[what]

    @property
    def run(self) -> str | None:
        return self.runs[0] if self.runs else None

    @property
    def run_key(self) -> bytes:
        """Under which a run is counted: with its team, or its key where it has none, so that one caller cannot spend
        the budget of another's run by sending its name."""
        owner = self.teams[0] if self.teams else self.keys[0] if self.keys else ""
        return hashlib.blake2b(f"{owner}\0{self.run}".encode(errors="replace"), digest_size=16).digest()

    def __post_init__(self) -> None:
        named: Mapping[str, tuple[str, ...]] = {
            "run": self.runs,
            "agent": self.agents,
            "key": self.keys,
            "team": self.teams,
            "model": (self.model,) if self.model else (),
            "environment": (self.environment,) if self.environment else (),
        }
        object.__setattr__(self, "_named", named)

    _named: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)


def clean(name: object) -> str:
    """A name from outside, fit for a report: printable, and short; a long one is named by its digest. Empty: none."""
    text = name.strip() if isinstance(name, str) else str(name) if isinstance(name, int) else ""
    if len(text) > MAX_ID:
        return "sha256:" + hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def names(*given: object) -> tuple[str, ...]:
    """The names that there are, each once, in their order."""
    return tuple(dict.fromkeys(found for each in given if (found := clean(each))))
