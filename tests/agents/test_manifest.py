"""The digest of what a specialist is made of."""

from __future__ import annotations

from importlib import resources

import pytest

from watchkeeper.agents.manifest import MODULES, manifest_digest
from watchkeeper.core.errors import NotFoundError


def test_every_specialist_has_its_own_digest() -> None:
    digests = {manifest_digest(specialist) for specialist in MODULES}
    assert len(digests) == len(MODULES)
    assert all(digest.startswith("sha256:") for digest in digests)


def test_every_named_module_is_there_and_every_module_of_a_specialist_is_named() -> None:
    named = {module for modules in MODULES.values() for module in modules}
    assert all(resources.files(package).joinpath(name).is_file() for package, name in named)
    packages = ("watchkeeper.agents.detector", "watchkeeper.agents.diagnoser")
    there = {
        (package, file.name)
        for package in packages
        for file in resources.files(package).iterdir()
        if file.name.endswith(".py") and file.name not in ("__init__.py", "evaluate.py")
    }
    assert there <= named


def test_an_unknown_specialist_is_refused_with_a_suggestion() -> None:
    with pytest.raises(NotFoundError, match="did you mean"):
        manifest_digest("detector/token-costs")
