"""The guard in the LiteLLM proxy: `litellm_settings: {callbacks: [watchkeeper_guard.litellm.guard]}`.

It judges a call in `async_pre_call_hook`, before the router chooses a deployment, and settles it by the proxy's success
and failure hooks. It sees the model that the caller asked for: a fallback to another model is NOT judged again, nor is
what flows through a realtime session once it is open.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from litellm import token_counter
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException

from watchkeeper_guard.counting import Counter, UncountedError
from watchkeeper_guard.engine import Finding, Verdict
from watchkeeper_guard.fingerprint import fingerprint
from watchkeeper_guard.identity import KeyFacts, identify
from watchkeeper_guard.measure import measure, output_of
from watchkeeper_guard.process import Running
from watchkeeper_guard.request import Prices, Request, clean

HEADER = "x-watchkeeper-guard"
MARK = "watchkeeper_guard"
FACTS_S = 60.0
MAX_MODELS = 1000

log = logging.getLogger("watchkeeper_guard")

Data = dict[str, Any]


@dataclass(frozen=True)
class _Model:
    """What the gateway knows of a model group, and until when that is believed."""

    window: int | None
    prices: Prices | None
    tokenizer: str
    until: float


class LiteLLMGuard(CustomLogger):  # type: ignore[misc]  # LiteLLM is not installed where this is checked
    """The callback. The proxy looks for hooks in this very class: none may move to a base class."""

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, _Model] = {}
        self._begin()

    def _begin(self) -> None:
        self._running, self._counter = Running(), Counter()
        self._counter.warm(partial(_tokens, ""))

    @property
    def running(self) -> Running:
        if self._running.pid != os.getpid():  # forked: locks and threads are the parent's
            self._begin()
        return self._running

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Data, call_type: str) -> None:
        running, counted = self.running, False
        begun, begun_cpu = time.perf_counter_ns(), time.thread_time_ns()
        request: Request | None = None
        try:
            request = self._request(user_api_key_dict, data)
            verdict = running.guard.enter(request, _ticket(data))
            if verdict.count_to is not None:
                counted = True
                verdict = await self._count(request, data, verdict.count_to)
        except Exception as error:
            log.error("watchkeeper-guard: %s while judging a call", type(error).__name__, exc_info=error)
            verdict = running.guard.broken(request)
        finally:
            took, took_cpu = time.perf_counter_ns() - begun, time.thread_time_ns() - begun_cpu
            (running.counted if counted else running.timings).add(took)
            if not counted:  # other calls run while one waits to be counted
                running.cpu.add(took_cpu)
        if verdict.refusal is not None:
            raise _refused(verdict.refusal)
        if verdict.marks:
            _metadata(data)[MARK] = "; ".join(_told(each) for each in verdict.marks)

    async def _count(self, request: Request, data: Data, to: int) -> Verdict:
        model = self._model(request.model)
        tokenize = partial(_tokens, model.tokenizer)
        try:
            counted = await self._counter.count(data, model.tokenizer, tokenize, to)
            size = replace(request.size, counted=counted)
        except UncountedError as error:
            log.warning("watchkeeper-guard: %s", error)
            size = replace(request.size, can_count=False)
        return self.running.guard.enter(replace(request, size=size), _ticket(data))

    async def async_log_success_event(self, kwargs: Data, response_obj: Any, start_time: Any, end_time: Any) -> None:
        payload = kwargs.get("standard_logging_object") or {}
        cost, tokens = payload.get("response_cost", kwargs.get("response_cost")), payload.get("total_tokens")
        ticket = str(kwargs.get("litellm_call_id"))
        if isinstance(tokens, int):
            micro_usd = round(cost * 1e6) if isinstance(cost, int | float) else None
            self.running.guard.settle(ticket, tokens, micro_usd)
        else:
            self.running.guard.abandon(ticket)

    async def async_post_call_failure_hook(
        self, request_data: Data, original_exception: Exception, user_api_key_dict: Any, traceback_str: Any = None
    ) -> None:
        """Once a call, after all retries. A time-out may have been paid for: it stays charged."""
        status = getattr(original_exception, "status_code", None)
        if status in (408, 499, 504) or status is None:
            self.running.guard.abandon(_ticket(request_data))
        else:
            self.running.guard.refund(_ticket(request_data))

    async def async_post_call_response_headers_hook(
        self, data: Data, user_api_key_dict: Any, response: Any, request_headers: Any = None
    ) -> dict[str, str] | None:
        mark = _metadata(data).get(MARK)
        return {HEADER: mark} if isinstance(mark, str) else None

    def _request(self, key: Any, data: Data) -> Request:
        facts = KeyFacts(
            hash=key.api_key,
            alias=key.key_alias,
            team_id=key.team_id,
            team_alias=key.team_alias,
            agent_id=getattr(key, "agent_id", None),
            end_user=getattr(key, "end_user_id", None),
        )
        headers = (data.get("proxy_server_request") or {}).get("headers") or {}
        who = identify(headers, data, facts)
        model = self._model(clean(data.get("model")))
        return Request(
            model=clean(data.get("model")),
            environment=self.running.settings.environment,
            keys=who.keys,
            teams=who.teams,
            agents=who.agents,
            runs=who.runs,
            size=measure(data),
            output=output_of(data),
            fingerprint=fingerprint(data),
            window=model.window,
            prices=model.prices,
        )

    def _model(self, group: str) -> _Model:
        now = time.monotonic()
        known = self._models.get(group)
        if known is None or known.until < now:
            if len(self._models) >= MAX_MODELS:
                self._models.clear()
            known = self._models[group] = _look_up(group, now + FACTS_S)
        return known


def _look_up(group: str, until: float) -> _Model:
    """By the router: the smallest window and the highest price of the deployments of a group."""
    from litellm.proxy.proxy_server import llm_router  # noqa: PLC0415  # made when the proxy has started

    info = llm_router.get_model_group_info(group) if llm_router is not None and group else None
    listed = llm_router.get_model_list(group) if llm_router is not None and group else None
    tokenizer = listed[0]["litellm_params"].get("model", group) if listed else group
    if info is None:
        return _Model(None, None, tokenizer, until)
    window = info.max_input_tokens
    priced = info.input_cost_per_token is not None and info.output_cost_per_token is not None
    prices = Prices(info.input_cost_per_token, info.output_cost_per_token) if priced else None
    return _Model(int(window) if window else None, prices, tokenizer, until)


def _tokens(model: str, text: str) -> int:
    found: int = token_counter(model=model, text=text)
    return found


def _ticket(data: Mapping[str, Any]) -> str:
    return str(data.get("litellm_call_id"))


def _metadata(data: Data) -> Data:
    """The proxy's own metadata of a call; which of the two it is depends on the endpoint."""
    for name in ("litellm_metadata", "metadata"):
        found = data.get(name)
        if isinstance(found, dict):
            return found
    made: Data = {}
    data["metadata"] = made
    return made


def _told(found: Finding) -> str:
    return f"{found.code}; observed={found.observed}; limit={found.limit}"


def _refused(found: Finding) -> ProxyException:
    return ProxyException(
        message=f"{found.message} ({found.code})",
        type=found.code,
        param=None,
        code=found.status,
        openai_code=found.code,
        headers={HEADER: found.code, "x-should-retry": "false"},
        provider_specific_fields={MARK: {"code": found.code, "rule": found.rule}},
    )


def __getattr__(name: str) -> LiteLLMGuard:
    """`guard` is made when the proxy asks for it, and not when somebody imports the module."""
    if name == "guard":
        made = globals()["guard"] = LiteLLMGuard()
        return made
    raise AttributeError(name)
