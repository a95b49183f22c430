"""Names in the settings that must tell things apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def once(what: str, names: Iterable[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"the {what} {', '.join(twice)} is given more than once")
