"""All that is wrong with the documents in some files: every document is looked at, not only up to the first mistake.

What is read and compiled is what an activation would read and compile. Whether it is wise is `lint`'s question.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from watchkeeper.core import yamldoc
from watchkeeper.core.errors import PolicyError
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.load import TESTS, from_texts, read
from watchkeeper.policies.trials.model import PolicyTest


class Validated(NamedTuple):
    """`policy`: there is nothing wrong. `tests`: how many PolicyTest documents lie beside it."""

    policy: Policy | None
    tests: int
    errors: tuple[PolicyError, ...]


def validate(files: Iterable[tuple[str, str]], where: str = "") -> Validated:
    """`files` are names and texts; `where` is how a person named them."""
    texts, errors, tests = dict(files), list[PolicyError](), 0
    for name, text in texts.items():
        try:
            documents = yamldoc.parse(text, name, PolicyError)
        except PolicyError as error:
            errors.append(error)
            continue
        for document in documents:
            try:
                if document.kind == TESTS:
                    document.validate(PolicyTest, PolicyError)
                    tests += 1
                else:
                    read(document)
            except PolicyError as error:
                errors.append(error)
    if errors:
        return Validated(None, tests, tuple(errors))
    try:
        return Validated(compile_policy(from_texts(texts, where)), tests, ())
    except PolicyError as error:
        return Validated(None, tests, (error,))
