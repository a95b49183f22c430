"""Plans are a pure function of the seed."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.lab.plan import AGENTS, Agent, CallerFault, ModelStep, ToolStep, gap_s, plan_run

agents = st.sampled_from(AGENTS)
numbers = st.integers(0, 10_000)


@given(seed=st.integers(), agent=agents, number=numbers, fault=st.sampled_from(CallerFault))
def test_the_same_arguments_give_the_same_plan(seed: int, agent: Agent, number: int, fault: CallerFault) -> None:
    assert plan_run(seed, agent, number, fault) == plan_run(seed, agent, number, fault)
    assert gap_s(seed, agent, number, fault, 1) == gap_s(seed, agent, number, fault, 1)


@given(agent=agents, number=numbers)
def test_a_healthy_run_ends_with_a_model_call_and_repeats_no_tool_call(agent: Agent, number: int) -> None:
    steps = list(plan_run(1, agent, number).walk())
    assert isinstance(steps[0], ModelStep)
    assert isinstance(steps[-1], ModelStep)
    calls = [(step.name, step.arguments) for step in steps if isinstance(step, ToolStep)]
    assert len(calls) == len(set(calls)) >= 1


@given(agent=agents, number=numbers)
def test_a_runaway_repeats_one_tool_call_for_as_long_as_anybody_looks(agent: Agent, number: int) -> None:
    steps = list(islice(plan_run(1, agent, number, CallerFault.RUNAWAY).walk(), 200))
    assert len({step for step in steps if isinstance(step, ToolStep)}) == 1
    assert len(steps) == 200


@given(agent=agents, number=numbers)
def test_a_spike_grows_prompts_tenfold_and_calls_faster(agent: Agent, number: int) -> None:
    sizes = [
        step.prompt_chars for step in plan_run(1, agent, number, CallerFault.COST_SPIKE).steps if step.kind == "model"
    ]
    low, high = agent.prompt_chars
    assert all(low * 10 <= size <= high * 10 for size in sizes)
    calm, spiking = (gap_s(1, agent, number, fault, 1) for fault in (CallerFault.NONE, CallerFault.COST_SPIKE))
    assert spiking == pytest.approx(calm / 3)


def test_another_seed_gives_another_plan() -> None:
    assert plan_run(1, AGENTS[0], 0) != plan_run(2, AGENTS[0], 0)


def test_the_healthy_baseline_is_six_to_ten_calls_a_second() -> None:
    per_second = 0.0
    for agent in AGENTS:
        calls = [sum(step.kind == "model" for step in plan_run(1, agent, n).steps) for n in range(500)]
        per_second += agent.runs_per_s * sum(calls) / len(calls)
    assert 6 <= per_second <= 10
