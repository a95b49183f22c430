"""Short inner names: a subject as a pair of strings, which hashes ten times faster than the contract."""

from __future__ import annotations

from functools import lru_cache

from watchkeeper.core.subjects import Subject, SubjectKind

Ref = tuple[str, str]
"""(kind, id)."""


def ref_of(subject: Subject) -> Ref:
    return (subject.kind.value, subject.id)


@lru_cache(maxsize=50_000)
def subject_of(ref: Ref) -> Subject:
    return Subject(kind=SubjectKind(ref[0]), id=ref[1])
