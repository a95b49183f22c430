"""What the callers will do: a pure function of the seed, the agent, the number of the run and the fault.

Plans say what and in which order, never when: the answers' latency and the gateway's limits decide that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Literal

from pydantic import Field

from watchkeeper.core.model import Contract

SPIKE_PROMPT_FACTOR = 10
SPIKE_RATE_FACTOR = 3.0
RUNAWAY_PAUSE_S = 0.1


class CallerFault(StrEnum):
    NONE = "none"
    RUNAWAY = "runaway"
    COST_SPIKE = "cost_spike"


class Agent(Contract):
    """A caller: how often it runs and what a run looks like when it is well."""

    name: str
    service: str
    model: str = "chat-main"
    runs_per_s: float = Field(gt=0)
    turns: tuple[int, int]
    prompt_chars: tuple[int, int]
    max_tokens: tuple[int, int]
    tools: tuple[str, ...] = Field(min_length=1)


AGENTS = (
    Agent(
        name="support-bot",
        service="support",
        runs_per_s=1.5,
        turns=(1, 1),
        prompt_chars=(1200, 2000),
        max_tokens=(80, 160),
        tools=("lookup_order", "search_help_pages"),
    ),
    Agent(
        name="research-agent",
        service="research",
        runs_per_s=0.5,
        turns=(2, 4),
        prompt_chars=(2400, 4000),
        max_tokens=(150, 300),
        tools=("search_papers", "read_page", "take_note"),
    ),
    Agent(
        name="nightly-batch",
        service="batch",
        runs_per_s=0.8,
        turns=(1, 1),
        prompt_chars=(800, 1200),
        max_tokens=(40, 80),
        tools=("load_record",),
    ),
)


class ModelStep(Contract):
    kind: Literal["model"] = "model"
    prompt_chars: int
    max_tokens: int


class ToolStep(Contract):
    kind: Literal["tool"] = "tool"
    name: str
    arguments: str


Step = ModelStep | ToolStep


class RunPlan(Contract):
    """One run: a plan, then turns of a tool call and a model call, then done. An endless one repeats its steps."""

    run_id: str
    agent: str
    steps: tuple[Step, ...]
    endless: bool = False

    def walk(self) -> Iterator[Step]:
        yield from self.steps
        while self.endless:
            yield from self.steps


def plan_run(seed: int, agent: Agent, number: int, fault: CallerFault = CallerFault.NONE) -> RunPlan:
    """The same arguments give the same plan, on every machine."""
    rng = random.Random(f"{seed}/{agent.name}/{number}/{fault}")
    run_id = f"run-{agent.name}-{number:06d}-{rng.getrandbits(32):08x}"
    if fault is CallerFault.RUNAWAY:
        loop = (_tool(rng, agent), _model(rng, agent, 1))
        return RunPlan(run_id=run_id, agent=agent.name, steps=loop, endless=True)
    factor = SPIKE_PROMPT_FACTOR if fault is CallerFault.COST_SPIKE else 1
    steps: list[Step] = [_model(rng, agent, factor)]
    for _ in range(rng.randint(*agent.turns)):
        steps += [_tool(rng, agent), _model(rng, agent, factor)]
    return RunPlan(run_id=run_id, agent=agent.name, steps=tuple(steps))


def gap_s(seed: int, agent: Agent, number: int, fault: CallerFault, pace: float) -> float:
    """The time from the start of run `number` to the next: steady, with a fifth of jitter."""
    rate = agent.runs_per_s * pace * (SPIKE_RATE_FACTOR if fault is CallerFault.COST_SPIKE else 1.0)
    return random.Random(f"{seed}/{agent.name}/{number}/gap").uniform(0.8, 1.2) / rate


def _model(rng: random.Random, agent: Agent, factor: int) -> ModelStep:
    return ModelStep(prompt_chars=rng.randint(*agent.prompt_chars) * factor, max_tokens=rng.randint(*agent.max_tokens))


def _tool(rng: random.Random, agent: Agent) -> ToolStep:
    return ToolStep(name=rng.choice(agent.tools), arguments=f'{{"id":{rng.randint(1, 10**6)}}}')
