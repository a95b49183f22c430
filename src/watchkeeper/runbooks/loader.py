"""The catalogue: shipped runbooks and a team's own, with the durations that its settings change.

A team's runbook replaces the shipped one of the same name. What is loaded has no lint error, after the overrides too.
What adapters can do is not known here: who knows it hands it in as `offers`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import Field

from watchkeeper.core import yamldoc
from watchkeeper.core.errors import ConfigError, NotFoundError, RunbookError, suggest
from watchkeeper.core.model import Contract
from watchkeeper.core.yamldoc import Document
from watchkeeper.runbooks.lint import LintFinding, LintSeverity, Offer, lint, unknown_series
from watchkeeper.runbooks.model import Runbook, SliSpec

MAX_FILES = 1_000
SUFFIXES = (".yaml", ".yml")


class RunbookOverrides(Contract):
    """What an installation may change of a runbook without copying it: its pace. Seconds."""

    horizons_s: tuple[float, ...] | None = Field(default=None, min_length=1)
    window_s: float | None = Field(default=None, gt=0)
    """Of the verified service level, its guards and the breach."""
    min_events: int | None = Field(default=None, ge=1)
    hold_s: float | None = Field(default=None, ge=0)
    release_steps: tuple[float, ...] | None = Field(default=None, min_length=1)
    watch_s: float | None = Field(default=None, ge=0)
    ttl_s: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class Catalog:
    """Runbooks by name, in order of name."""

    runbooks: tuple[Runbook, ...]

    def get(self, name: str) -> Runbook:
        found = next((runbook for runbook in self.runbooks if runbook.name == name), None)
        if found is None:
            raise NotFoundError(
                f"there is no runbook {name!r}{suggest(name, (runbook.name for runbook in self.runbooks))}",
                next_step="watchkeeper runbook lint shows those that there are",
            )
        return found


@dataclass(frozen=True)
class Linted:
    """A runbook with its findings, each with file:line; `runbook` is as written, without overrides."""

    runbook: Runbook
    document: Document
    offers: tuple[Offer, ...] = ()

    @property
    def findings(self) -> list[tuple[str, LintFinding]]:
        return [(self.document.place(finding.path), finding) for finding in lint(self.runbook, self.offers)]


def load_catalog(
    dirs: Sequence[Path] = (),
    *,
    shipped: bool = True,
    overrides: Mapping[str, RunbookOverrides] | None = None,
    offers: tuple[Offer, ...] = (),
    series: Collection[str] | None = None,
) -> Catalog:
    """Raises RunbookError for a runbook that does not read or has a lint error, ConfigError for an unknown override.
    `series` are the queries that the settings have; None: not known, and not asked for."""
    found: dict[str, Linted] = {}
    if shipped:
        found.update(_by_name(read_shipped(offers)))
    found.update(_by_name(read(*dirs, offers=offers)))
    changed = dict(overrides or {})
    for name in changed:
        if name not in found:
            raise ConfigError(
                f"settings change the runbook {name!r}, which there is not{suggest(name, found)}",
                next_step="watchkeeper config check",
            )
    return Catalog(tuple(_checked(found[name], changed.get(name), series) for name in sorted(found)))


def read(*paths: Path, offers: tuple[Offer, ...] = ()) -> list[Linted]:
    """The runbooks in files and under folders, whatever lint says of them. Raises RunbookError if one does not read,
    or a file or folder that was named holds none."""
    files = {path: sorted(_files(path)) for path in paths}
    together = sorted({file for of_path in files.values() for file in of_path})
    if len(together) > MAX_FILES:
        raise RunbookError(f"more than {MAX_FILES} runbook files", place=str(paths[0]))
    found = {file: parse(_text(file), str(file), offers) for file in together}
    for path, of_path in files.items():
        if not any(found[file] for file in of_path):
            raise RunbookError(
                "no runbook here",
                place=str(path),
                cause="the file is empty, or the folder holds no .yaml file with something in it",
                next_step="watchkeeper runbook lint PATHS",
            )
    return [linted for file in together for linted in found[file]]


def read_shipped(offers: tuple[Offer, ...] = ()) -> list[Linted]:
    folder = resources.files("watchkeeper.runbooks") / "catalog"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(SUFFIXES)), key=lambda entry: entry.name)
    return [
        linted
        for file in files
        for linted in parse(file.read_text(encoding="utf-8"), f"runbooks/catalog/{file.name}", offers)
    ]


def parse(text: str, file: str, offers: tuple[Offer, ...] = ()) -> list[Linted]:
    return [
        Linted(document.validate(Runbook, RunbookError), document, offers)
        for document in yamldoc.parse(text, file, RunbookError)
    ]


def with_overrides(runbook: Runbook, change: RunbookOverrides) -> Runbook:
    """The runbook at another pace: another content, so another digest."""
    spec, verification, release = runbook.spec, runbook.spec.verification, runbook.spec.release
    if release is not None:
        release = release.model_copy(
            update=_given(steps=change.release_steps, watch=change.watch_s),
        )
    verification = verification.model_copy(
        update={
            "sli": _paced(verification.sli, change),
            "guards": tuple(_paced(guard, change) for guard in verification.guards),
            **_given(horizons=change.horizons_s),
        }
    )
    breach = None if spec.breach is None else _paced(spec.breach, change)
    parts = {"verification": verification, "release": release, "breach": breach}
    changed = spec.model_copy(update=parts | _given(hold=change.hold_s, ttl=change.ttl_s))
    return runbook.model_copy(update={"spec": changed})


def _paced(sli: SliSpec, change: RunbookOverrides) -> SliSpec:
    return sli.model_copy(update=_given(window=change.window_s, min_events=change.min_events))


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _by_name(many: Iterable[Linted]) -> dict[str, Linted]:
    found: dict[str, Linted] = {}
    for linted in many:
        name = linted.runbook.name
        if name in found:
            raise RunbookError(
                f"two runbooks are named {name!r}",
                place=linted.document.place(("metadata", "name")),
                cause=f"the other is at {found[name].document.place(('metadata', 'name'))}",
                next_step="rename one",
            )
        found[name] = linted
    return found


def _checked(linted: Linted, change: RunbookOverrides | None, series: Collection[str] | None) -> Runbook:
    runbook = linted.runbook if change is None else with_overrides(linted.runbook, change)
    errors = [finding for finding in lint(runbook, linted.offers) if finding.severity is LintSeverity.ERROR]
    errors += [] if series is None else unknown_series(runbook, series)
    if errors:
        told = [f"{yamldoc.path_text(error.path)}: {error.message}" for error in errors]
        raise RunbookError(
            "\n".join(told),
            place=linted.document.place(errors[0].path),
            cause="" if change is None else f"settings change the pace of {runbook.name}",
            next_step="watchkeeper runbook lint",
        )
    return runbook


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return [file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()]
    return [path]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RunbookError(f"cannot read the runbook file: {why}", place=str(file)) from error
