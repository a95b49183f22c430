"""The canonical bytes of a decision and the digest of its input, put together from parts instead of walked anew.

For replay, which writes the same words a hundred thousand times. `decide`, `canonical_model` and `digest_of` say what
the bytes are; the property tests hold this module to them. It writes nothing that they would refuse to write, and says
nothing about bytes that are not canonical: who reads such an input gets a digest that nobody recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from watchkeeper.core.canonical import canonical, canonical_model
from watchkeeper.core.decisions import ApprovalTerms, DecisionInput
from watchkeeper.core.digest import sha256
from watchkeeper.core.spelling import number
from watchkeeper.policies.decide import Weighed
from watchkeeper.policies.gates.answers import Answer


def decision_bytes(weighed: Weighed, version: str, input_digest: str) -> bytes:
    """`canonical_model` of the decision that `decide` makes."""
    whole = weighed.whole
    ttl = b"null" if whole.remedy_ttl_s is None else b"%d" % whole.remedy_ttl_s
    return b'{"approvals":%b,"autonomy":"%b","input_digest":"%b","policy_version":"%b","remedy_ttl_s":%b,%b[%b]}' % (
        _approvals(whole.approvals),
        whole.autonomy.encode(),
        input_digest.encode(),
        version.encode(),
        ttl,
        b'"verdict":"%b","walk":' % weighed.verdict.encode(),
        b",".join([_step(answer) for answer in weighed.walk]),
    )


def recorded_digest(canonical_input: bytes) -> str:
    """`digest_of` the input whose canonical bytes these are: what is at its default is left out."""
    return sha256(_DEFAULTS.sub(b"", canonical_input))


@lru_cache(maxsize=1024)
def _approvals(approvals: tuple[ApprovalTerms, ...]) -> bytes:
    return b"[%b]" % b",".join(canonical_model(each) for each in approvals)


@lru_cache(maxsize=8192)
def _step(answer: Answer) -> bytes:
    return b'{"gate":"%b","limit":%b,"node":%b,"observed":%b,"passed":%b,"reason":"%b","step":%b}' % (
        answer.gate.encode(),
        _value(answer.limit),
        _text(answer.node),
        _value(answer.observed),
        b"true" if answer.passed else b"false",
        answer.reason.encode(),
        b"null" if answer.step is None else b"%d" % answer.step,
    )


def _value(value: float | str | None) -> bytes:
    """A bound may be a whole number in the policy; the walk has floats."""
    if value is None:
        return b"null"
    return _text(value) if isinstance(value, str) else number(float(value)) or canonical(float(value))


@lru_cache(maxsize=8192)
def _text(text: str) -> bytes:
    return canonical(text)


def models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and every model that its fields hold."""
    yield model
    for field in model.model_fields.values():
        for held in _held(field.annotation):
            yield from models_below(held)


def _held(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (tuple, Union, UnionType):
        for each in get_args(annotation):
            yield from _held(each)


def _members(model: type[BaseModel]) -> Iterator[bytes]:
    """`,"name":default` of every field with a default. No such field comes first in its model's order of names, and no
    name has two meanings in the input: a test says so when that changes."""
    for name, field in model.model_fields.items():
        if not field.is_required():
            yield b',"%b":%b' % (name.encode(), canonical(to_jsonable_python(field.get_default())))


_DEFAULTS = re.compile(
    b"|".join(sorted({re.escape(member) for model in models_below(DecisionInput) for member in _members(model)}))
)
