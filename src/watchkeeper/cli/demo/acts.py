"""What happens in the demo: three faults, how each is switched on and, by the operator, off again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from watchkeeper.cli.demo.stage import Stage


@dataclass(frozen=True)
class Act:
    """`mode` is the failure mode that the watch should name; faults do not end by themselves. `released`: what was
    changed must have been given back by the end."""

    title: str
    mode: str
    breaks: str
    repaired: str
    start: Callable[[Stage], None]
    end: Callable[[Stage], None]
    released: bool = False


ACTS = (
    Act(
        title="A provider goes down",
        mode="provider_outage",
        breaks="provider-a now answers every call with HTTP 500",
        repaired="the operator's provider is back; the watch gives the traffic back step by step",
        start=lambda stage: stage.provider("provider-a", "500"),
        end=lambda stage: stage.provider("provider-a", "ok"),
    ),
    Act(
        title="An agent runs away",
        mode="runaway_loop",
        breaks="research-agent repeats one tool call for ever",
        repaired="the operator has restarted research-agent",
        start=lambda stage: stage.callers("runaway", "research-agent"),
        end=lambda stage: stage.callers("none", "research-agent"),
    ),
    Act(
        title="Costs jump",
        mode="token_cost_spike",
        breaks="support-bot's prompts grow tenfold, and it calls three times as often",
        repaired="the operator has rolled support-bot back",
        start=lambda stage: stage.callers("cost_spike", "support-bot"),
        end=lambda stage: stage.callers("none", "support-bot"),
        released=True,
    ),
)
