"""Chooses a deployment by weight, calls it, tries again, and falls back to another model group.

As on the real router a weight of 0 gets nothing while another deployment of the group has weight, and a failed attempt
chooses anew among all. Cooldown is off unless asked for: with it the gateway would heal a fault before anybody saw it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import httpx
from pydantic import BaseModel, ValidationError

from watchkeeper.core.clock import Clock
from watchkeeper.core.model import Contract
from watchkeeper.lab.gateway.errors import GatewayError, model_denied
from watchkeeper.lab.gateway.metrics import (
    COMPLETE_OUTAGE,
    HEALTHY,
    PARTIAL_OUTAGE,
    Metrics,
    deployment_labels,
)
from watchkeeper.lab.gateway.rows import Failure, JsonObject, ModelRow
from watchkeeper.lab.gateway.store import Store


class RouterSettings(Contract):
    num_retries: int = 1
    timeout_s: float = 30.0
    cooldown_s: float = 0.0


class UpstreamError(GatewayError):
    """No deployment answered. `deployment` is the last one tried, None where none could be tried."""

    def __init__(self, status: int, message: str, kind: str, failure: Failure, deployment: ModelRow | None) -> None:
        super().__init__(status, message, kind=kind, failure=failure)
        self.deployment = deployment
        self.retries = 0


class Answer(NamedTuple):
    body: JsonObject
    deployment: ModelRow
    retries: int
    fallbacks: int


def choose(rows: Sequence[ModelRow], rng: random.Random) -> ModelRow:
    """The shuffle of the real router: by weight, or evenly where no deployment has any."""
    weights = [row.weight or 0.0 for row in rows]
    return rng.choices(rows, weights=weights)[0] if sum(weights) > 0 else rng.choice(rows)


class Router:
    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        clock: Clock,
        client: httpx.AsyncClient,
        rng: random.Random,
        settings: RouterSettings,
    ) -> None:
        self._store, self._metrics, self._clock = store, metrics, clock
        self._client, self._rng, self.settings = client, rng, settings
        self._cooling: dict[str, float] = {}

    async def complete(self, group: str, request: JsonObject, caller: Mapping[str, str]) -> Answer:
        """Tries the group, then its fallbacks in order. Raises the error of the group that was asked for."""
        if not self._store.deployments(group):
            raise model_denied(group)
        first: UpstreamError | None = None
        for fallbacks, name in enumerate((group, *self._store.fallbacks.get(group, ()))):
            try:
                body, deployment, retries = await self._group(name, group, request, caller)
            except UpstreamError as error:
                first = first or error
            else:
                if first is not None:
                    self._fell_back(group, name, first, caller, deployment)
                return Answer(body, deployment, retries, fallbacks)
        assert first is not None
        raise first

    async def _group(
        self, name: str, asked: str, request: JsonObject, caller: Mapping[str, str]
    ) -> tuple[JsonObject, ModelRow, int]:
        retries = 0
        while True:
            rows = [row for row in self._store.deployments(name) if not self._is_cooling(row)]
            if not rows:
                message = f"No deployments available for selected model, Try again in 5 seconds. Passed model={name}"
                failure = Failure(code="", error_class="RouterRateLimitError", normalized="429_NO_HEALTHY_DEPLOYMENTS")
                raise UpstreamError(429, message, "None", failure, None)
            row = choose(rows, self._rng)
            labels = {
                **caller,
                **deployment_labels(row),
                "model_group": name,
                "requested_model": asked,
            }
            self._metrics.add("litellm_deployment_total_requests_total", labels)
            try:
                body = await self._call(row, request)
            except UpstreamError as error:
                self._failed(row, error, labels)
                if retries >= self.settings.num_retries:
                    error.retries = retries
                    raise
                retries += 1
            else:
                self._metrics.add("litellm_deployment_success_responses_total", labels)
                self._metrics.set("litellm_deployment_state", labels, HEALTHY)
                return body, row, retries

    async def _call(self, row: ModelRow, request: JsonObject) -> JsonObject:
        url = f"{row.api_base.rstrip('/')}/chat/completions"
        try:
            response = await self._client.post(
                url, json={**request, "model": row.provider_model}, timeout=self.settings.timeout_s
            )
        except httpx.TimeoutException as error:
            raise _upstream(408, _UpstreamProblem(message="Request timed out."), row) from error
        except httpx.HTTPError as error:
            raise _upstream(500, _UpstreamProblem(message="Connection error."), row) from error
        if response.status_code != 200:
            raise _upstream(response.status_code, _problem(response), row)
        body: JsonObject = response.json()
        return body

    def _failed(self, row: ModelRow, error: UpstreamError, labels: Mapping[str, str]) -> None:
        failure = {
            **labels,
            "exception_status": str(error.status),
            "exception_class": f"{row.provider.capitalize()}.{error.failure.error_class}",
        }
        self._metrics.add("litellm_deployment_failure_responses_total", failure)
        self._metrics.set("litellm_deployment_state", labels, PARTIAL_OUTAGE)
        if self.settings.cooldown_s > 0 and len(self._store.deployments(row.model_name)) > 1:
            self._cooling[row.model_id] = self._clock.monotonic() + self.settings.cooldown_s
            self._metrics.add("litellm_deployment_cooled_down_total", failure)
            by_group = {**labels, "litellm_model_name": row.model_name}
            self._metrics.set("litellm_deployment_state", by_group, COMPLETE_OUTAGE)

    def _fell_back(
        self, group: str, name: str, cause: UpstreamError, caller: Mapping[str, str], deployment: ModelRow
    ) -> None:
        labels = {
            **caller,
            "requested_model": group,
            "fallback_model": name,
            "exception_status": str(cause.status),
            "exception_class": f"{deployment.provider.capitalize()}.{cause.failure.error_class}",
            "model_id": deployment.model_id,
        }
        self._metrics.add("litellm_deployment_successful_fallbacks_total", labels)

    def _is_cooling(self, row: ModelRow) -> bool:
        until = self._cooling.get(row.model_id)
        return until is not None and self._clock.monotonic() < until


class _Kind(NamedTuple):
    error_class: str
    type: str
    normalized: str


_SERVER_ERROR = _Kind("InternalServerError", "internal_server_error", "500_PROVIDER_INTERNAL_ERROR")
_OTHER = _Kind("APIError", "None", "UNCLASSIFIED")
_KINDS: Mapping[int, _Kind] = {
    400: _Kind("BadRequestError", "invalid_request_error", "400_INVALID_REQUEST"),
    401: _Kind("AuthenticationError", "auth_error", "401_AUTHENTICATION_FAILED"),
    408: _Kind("Timeout", "timeout_error", "408_UPSTREAM_TIMEOUT"),
    429: _Kind("RateLimitError", "throttling_error", "429_RATE_LIMIT_EXCEEDED"),
    503: _Kind("ServiceUnavailableError", "internal_server_error", "503_PROVIDER_OVERLOADED"),
}


class _UpstreamProblem(BaseModel):
    message: str
    code: str | None = None


class _UpstreamBody(BaseModel):
    error: _UpstreamProblem


def _upstream(status: int, problem: _UpstreamProblem, row: ModelRow) -> UpstreamError:
    kind = _KINDS.get(status, _SERVER_ERROR if status >= 500 else _OTHER)
    provider = f"{row.provider.capitalize()}Exception"
    message = (
        f"litellm.{kind.error_class}: {kind.error_class}: {provider} - {problem.message}. "
        f"Received Model Group={row.model_name}"
    )
    failure = Failure(
        code=problem.code or str(status),
        error_class=kind.error_class,
        normalized=kind.normalized,
        category="vendor_rate_limit" if status == 429 else None,
    )
    return UpstreamError(status, message, kind.type, failure, row)


def _problem(response: httpx.Response) -> _UpstreamProblem:
    try:
        return _UpstreamBody.model_validate_json(response.content).error
    except ValidationError:
        return _UpstreamProblem(message=f"status {response.status_code}")
