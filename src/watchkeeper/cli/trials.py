"""policy test, explain: what documents say, before they are in force. They read files and ask no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json
from watchkeeper.core.errors import PolicyError

if TYPE_CHECKING:
    from watchkeeper.core.decisions import Decision, GateResult
    from watchkeeper.policies.compile import Policy
    from watchkeeper.policies.trials.model import Given
    from watchkeeper.policies.trials.run import Trial

Paths = Annotated[list[Path], typer.Argument(help="Files or folders of policy documents.")]
COLOURS = {"allow": "green", "require_approval": "yellow", "shadow": "cyan", "deny": "red"}


def register(app: typer.Typer) -> None:
    @app.command()
    def test(paths: Paths, json: Json = False) -> None:
        """Run the PolicyTest documents that lie beside a policy. Exit code 1 when a case fails."""
        from watchkeeper.policies.compile import compile_policy
        from watchkeeper.policies.load import load
        from watchkeeper.policies.trials.run import read, run

        policy = compile_policy(load(*paths))
        trials = run(policy, read(*paths))
        if not trials:
            raise PolicyError(
                "no PolicyTest document here",
                place=", ".join(map(str, paths)),
                cause="a policy is tested by documents that lie beside it",
                next_step="write one: docs/policies.md, Tests",
            )
        failed = [each for each in trials if not each.passed]
        if json:
            out.as_json({"version": policy.version, "cases": [_case(each) for each in trials]})
        else:
            for each in failed:
                _say_failed(each)
            out.say(f"{len(trials) - len(failed)} of {len(trials)} cases passed", "red" if failed else "green")
        if failed:
            raise typer.Exit(1)

    @app.command()
    def explain(
        paths: Paths,
        given: Annotated[
            list[str] | None,
            typer.Option("--given", "-g", metavar="KEY=VALUE", help="What is asked, like confidence=0.6; repeatable."),
        ] = None,
        json: Json = False,
    ) -> None:
        """Walk one request through a policy: every gate, its document and its reason."""
        from watchkeeper.policies.compile import compile_policy
        from watchkeeper.policies.decide import decide
        from watchkeeper.policies.load import load
        from watchkeeper.policies.trials.run import asked

        policy = compile_policy(load(*paths))
        decision = decide(policy, asked(_given(given or []), policy))
        if json:
            out.as_json(decision.model_dump(mode="json"))
        else:
            _say_walk(policy, decision)


def _given(pairs: list[str]) -> Given:
    """`key=value` pairs as the `given` of a test; a value is read as in YAML. Raises PolicyError."""
    from watchkeeper.core import yamldoc
    from watchkeeper.policies.trials.model import Given

    lines = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier() or "\n" in value:
            raise PolicyError(
                f"--given {pair[:60]!r} is not KEY=VALUE", next_step="watchkeeper policy explain PATHS -g service=chat"
            )
        lines.append(f"{key}: {value}")
    return yamldoc.validate("\n".join(lines), "--given", Given, PolicyError)


def _case(trial: Trial) -> dict[str, object]:
    return {
        "name": trial.name,
        "place": trial.place,
        "passed": trial.passed,
        "expected": trial.expected,
        "verdict": trial.decision.verdict,
        "reasons": sorted(trial.said),
    }


def _say_failed(trial: Trial) -> None:
    out.say(Text.assemble(("failed ", "bold red"), out.plain(trial.name)))
    out.say(f"  {trial.place}", "dim")
    out.say(out.wrapped(f"  expected {trial.expected}{_because(trial.reasons)}"))
    out.say(out.wrapped(f"  decided  {trial.decision.verdict}{_because(trial.said)}"))
    for each in trial.decision.blocking:
        out.say(out.wrapped(f"    {each.gate}: {each.reason} by {each.node}"))


def _because(reasons: frozenset[str] | None) -> str:
    return f" because of {', '.join(sorted(reasons))}" if reasons else ""


def _say_walk(policy: Policy, decision: Decision) -> None:
    rows = [(_mark(each), each.gate.value, each.reason.value, _by(policy, each)) for each in decision.walk]
    out.table(("", "gate", "reason", "by"), rows, "")
    verdict = decision.verdict.value
    out.say(Text.assemble((verdict, COLOURS[verdict]), f", with autonomy {decision.autonomy} left to the agent"))
    for terms in decision.approvals if verdict == "require_approval" else ():
        out.say(out.wrapped(f"  {terms.quorum} of {', '.join(terms.roles)} within {terms.ttl_s} s ({terms.node})"))
    out.say(f"version {decision.policy_version}", "dim")


def _mark(result: GateResult) -> Text:
    if not result.passed:
        return Text("no", "bold red")
    return Text("ok", "green") if result.reason == "passed" else Text("!", "yellow")


def _by(policy: Policy, result: GateResult) -> str:
    """The document, what was observed and the limit, and what a rule's author says."""
    seen = "" if result.observed is None else f"  {_short(result.observed)}"
    limit = "" if result.limit is None else f"  (limit {_short(result.limit)})"
    message = policy.message(result.node, str(result.observed)) if result.gate == "rule" else ""
    told = "" if not message or result.reason == "passed" else f": {message}"
    return f"{result.node}{seen}{limit}{told}"


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
