"""A document that gives a credential what some capabilities need, for the target's own authoriser."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grant:
    """`how`: what to do with `text`, as a comment would say it."""

    title: str
    text: str
    how: str
