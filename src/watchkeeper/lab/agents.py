"""The callers: they walk their plans through the gateway and report every step as a span.

A fault lasts until it is cleared. A runaway run backs off briefly when it is refused and goes on, whatever the refusal.
Runs beyond `MAX_RUNS` of one agent are skipped and counted, so a slow gateway never piles up work.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field

import httpx
from pydantic import BaseModel, SecretStr

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import NotFoundError, suggest
from watchkeeper.core.model import Contract
from watchkeeper.lab.gateway.rows import key_hash
from watchkeeper.lab.otlp import AttributeValue, Exporter, SpanRecord
from watchkeeper.lab.plan import (
    RUNAWAY_PAUSE_S,
    Agent,
    CallerFault,
    ModelStep,
    RunPlan,
    ToolStep,
    gap_s,
    plan_run,
)

MAX_RUNS = 8
CALL_TIMEOUT_S = 30.0
TOOL_TIME_S = 0.01
REFUSED_PAUSE_S = 0.5
SENTENCE = "The quick brown fox jumps over the lazy dog. "


class AgentStatus(Contract):
    name: str
    fault: CallerFault
    runs: int
    skipped: int
    calls: int
    refused: int
    """429 answers."""
    failed: int
    """All other unsuccessful answers."""


@dataclass
class _Caller:
    agent: Agent
    key: SecretStr
    fault: CallerFault = CallerFault.NONE
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0
    skipped: int = 0
    calls: int = 0
    refused: int = 0
    failed: int = 0


class Callers:
    def __init__(
        self,
        keys: Mapping[Agent, SecretStr],
        gateway_url: str,
        exporter: Exporter | None,
        clock: Clock,
        *,
        seed: int,
        pace: float,
    ) -> None:
        self._callers = {agent.name: _Caller(agent, key) for agent, key in keys.items()}
        self._exporter, self._clock = exporter, clock
        self._seed, self._pace = seed, pace
        self._boot = secrets.token_hex(4)  # a restarted lab repeats its plans, not its run ids
        self._client = httpx.AsyncClient(base_url=gateway_url, timeout=CALL_TIMEOUT_S, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for caller in self._callers.values():
            self._spawn(caller, self._arrivals(caller))

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    def set_fault(self, name: str, fault: CallerFault) -> None:
        caller = self._callers.get(name)
        if caller is None:
            raise NotFoundError(f'no agent "{name}"{suggest(name, self._callers)}')
        caller.fault = fault
        caller.changed.set()
        caller.changed = asyncio.Event()

    def clear(self) -> None:
        for name in self._callers:
            self.set_fault(name, CallerFault.NONE)

    def status(self) -> tuple[AgentStatus, ...]:
        return tuple(
            AgentStatus(
                name=caller.agent.name,
                fault=caller.fault,
                runs=caller.runs,
                skipped=caller.skipped,
                calls=caller.calls,
                refused=caller.refused,
                failed=caller.failed,
            )
            for caller in self._callers.values()
        )

    def _spawn(self, caller: _Caller, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"lab-{caller.agent.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _arrivals(self, caller: _Caller) -> None:
        running = 0

        async def bounded(plan: RunPlan) -> None:
            nonlocal running
            running += 1
            try:
                await self._run(caller, plan)
            finally:
                running -= 1

        number = 0
        while True:
            fault = caller.fault
            plan = plan_run(self._seed, caller.agent, number, fault)
            if plan.endless:
                await self._run(caller, plan)
            elif running < MAX_RUNS:
                self._spawn(caller, bounded(plan))
            else:
                caller.skipped += 1
            await self._pause(caller, gap_s(self._seed, caller.agent, number, fault, self._pace))
            number += 1

    async def _pause(self, caller: _Caller, seconds: float) -> None:
        """Waits, but not through a change of fault."""
        try:
            async with asyncio.timeout(seconds):
                await caller.changed.wait()
        except TimeoutError:
            return

    async def _run(self, caller: _Caller, plan: RunPlan) -> None:
        caller.runs += 1
        run = _Run(caller, f"{plan.run_id}-{self._boot}", self._now_ns())
        problem: str | None = None
        for step in plan.walk():
            if plan.endless and caller.fault is not CallerFault.RUNAWAY:
                break
            if isinstance(step, ToolStep):
                await self._tool(run, step)
                continue
            problem = await self._model(run, step)
            if plan.endless:
                await self._pause(caller, (REFUSED_PAUSE_S if problem else RUNAWAY_PAUSE_S) / self._pace)
            elif problem:
                break
        self._emit(run.root(self._now_ns(), problem))

    async def _tool(self, run: _Run, step: ToolStep) -> None:
        start = self._now_ns()
        await asyncio.sleep(TOOL_TIME_S)
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": step.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": f"call_{run.next_id().hex()}",
            "gen_ai.tool.call.arguments": step.arguments,
        }
        self._emit(run.child(f"execute_tool {step.name}", start, self._now_ns(), attributes))

    async def _model(self, run: _Run, step: ModelStep) -> str | None:
        """One call through the gateway; gives the error type of a call that failed."""
        caller, start = run.caller, self._now_ns()
        caller.calls += 1
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": caller.agent.model,
            "gen_ai.request.max_tokens": step.max_tokens,
            "server.address": self._client.base_url.host,
        }
        try:
            response = await self._client.post(
                "/v1/chat/completions",
                json=_chat_body(caller.agent, step),
                headers={
                    "authorization": f"Bearer {caller.key.get_secret_value()}",
                    "x-litellm-session-id": run.run_id,
                },
            )
        except httpx.HTTPError as error:
            problem: str | None = "timeout" if isinstance(error, httpx.TimeoutException) else "connection_error"
        else:
            attributes["http.response.status_code"] = response.status_code
            problem = None if response.status_code == 200 else str(response.status_code)
            attributes.update(_answered(response))
        caller.refused += problem == "429"
        caller.failed += problem not in (None, "429")
        name = f"chat {caller.agent.model}"
        self._emit(run.child(name, start, self._now_ns(), attributes, problem=problem, client=True))
        return problem

    def _emit(self, record: SpanRecord) -> None:
        if self._exporter is not None:
            self._exporter.add(record)

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1e6) * 1000


class _Run:
    """One run under way: its trace, and the attributes that all of its spans carry."""

    def __init__(self, caller: _Caller, run_id: str, start_ns: int) -> None:
        self.caller, self.run_id, self._start_ns = caller, run_id, start_ns
        self._trace_id = hashlib.sha256(run_id.encode()).digest()[:16]
        self._spans = 0
        self._root_id = self.next_id()
        self._common: dict[str, AttributeValue] = {
            "gen_ai.agent.name": caller.agent.name,
            "gen_ai.conversation.id": run_id,
            "watchkeeper.run.id": run_id,
            "watchkeeper.key.hash": key_hash(caller.key.get_secret_value()),
        }

    def next_id(self) -> bytes:
        self._spans += 1
        return hashlib.sha256(f"{self.run_id}/{self._spans}".encode()).digest()[:8]

    def child(
        self,
        name: str,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, AttributeValue],
        *,
        problem: str | None = None,
        client: bool = False,
    ) -> SpanRecord:
        return SpanRecord(
            service=self.caller.agent.service,
            name=name,
            trace_id=self._trace_id,
            span_id=self.next_id(),
            parent_id=self._root_id,
            client=client,
            start_ns=start_ns,
            end_ns=end_ns,
            attributes=tuple({**self._common, **attributes}.items()),
            error_type=problem,
        )

    def root(self, end_ns: int, problem: str | None) -> SpanRecord:
        return SpanRecord(
            service=self.caller.agent.service,
            name=f"invoke_agent {self.caller.agent.name}",
            trace_id=self._trace_id,
            span_id=self._root_id,
            start_ns=self._start_ns,
            end_ns=end_ns,
            attributes=tuple({**self._common, "gen_ai.operation.name": "invoke_agent"}.items()),
            error_type=problem,
        )


def _chat_body(agent: Agent, step: ModelStep) -> dict[str, object]:
    prompt = (SENTENCE * (step.prompt_chars // len(SENTENCE) + 1))[: step.prompt_chars]
    return {
        "model": agent.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": step.max_tokens,
    }


class _Counts(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Completion(BaseModel):
    id: str
    model: str
    usage: _Counts


def _answered(response: httpx.Response) -> dict[str, AttributeValue]:
    """What the answer says. A refusal has no response id; the gateway's call id then names the call in its log."""
    if response.status_code != 200:
        call_id = response.headers.get("x-litellm-call-id")
        return {} if call_id is None else {"gen_ai.response.id": call_id}
    completion = _Completion.model_validate_json(response.content)
    return {
        "gen_ai.response.id": completion.id,
        "gen_ai.response.model": completion.model,
        "gen_ai.usage.input_tokens": completion.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": completion.usage.completion_tokens,
    }
