"""The request path: who calls, may they, which deployment answers, and what it cost.

Every call that names a known key leaves one row in the spend log, a refused one too. The id in the answer is the
row's `request_id`, which is how a trace and the spend log are joined.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from fastapi.responses import JSONResponse
from pydantic import Field

from watchkeeper.core.clock import Clock
from watchkeeper.lab.gateway.errors import AuthError, GatewayError, model_denied, unauthorized, unknown_key
from watchkeeper.lab.gateway.limits import Limits
from watchkeeper.lab.gateway.metrics import Metrics, key_labels
from watchkeeper.lab.gateway.router import Answer, Router, UpstreamError
from watchkeeper.lab.gateway.rows import Failure, JsonObject, KeyRow, key_hash
from watchkeeper.lab.gateway.spend import CallRecord, SpendLog
from watchkeeper.lab.gateway.store import Store
from watchkeeper.lab.provider import ChatRequest, Usage

ROUTE = "/chat/completions"
VERSION = "1.106.2"
MAX_ID = 200
BUDGET_EXCEEDED = Failure(
    code="422",
    error_class="BudgetExceededError",
    normalized="429_BUDGET_EXCEEDED",
    category="litellm_rate_limit",
    limit_type="budget",
)


class GatewayChat(ChatRequest):
    """What the gateway reads of a chat request; `max_tokens` is passed on only if it was given."""

    model: str = Field(min_length=1, max_length=200)
    user: str | None = Field(default=None, max_length=200)

    def upstream(self) -> JsonObject:
        body: JsonObject = self.model_dump(mode="json", exclude_unset=True)
        return body


class Chat:
    def __init__(
        self, store: Store, limits: Limits, router: Router, spend: SpendLog, metrics: Metrics, clock: Clock
    ) -> None:
        self._store, self._limits, self._router = store, limits, router
        self._spend, self._metrics, self._clock = spend, metrics, clock

    async def complete(self, key: str, request: GatewayChat, headers: Mapping[str, str]) -> JSONResponse:
        row = self._authenticate(key)
        call = _Call(row, request, self._clock.now(), headers)
        try:
            self._permit(row, request.model)
            with self._limits.admitted(row):
                answer = await self._router.complete(request.model, request.upstream(), call.labels)
            return self._served(call, answer)
        except GatewayError as error:
            self._refused(call, error)
            if not isinstance(error, AuthError):
                error.headers["x-litellm-call-id"] = call.call_id
            return error.response()

    def _authenticate(self, key: str) -> KeyRow:
        if not key:
            raise unauthorized("No api key passed in.")
        row = self._store.keys.get(key_hash(key))
        if row is None:
            raise unknown_key(key)
        return row

    def _permit(self, row: KeyRow, model: str) -> None:
        if row.blocked:
            raise unauthorized("Key is blocked. Update via `/key/unblock` if you're an admin.")
        if row.expires is not None and row.expires <= self._clock.now():
            raise unauthorized("Authentication Error - Expired Key.", kind="expired_key")
        if row.models and model not in row.models:
            raise model_denied(model)
        spent = self._spend.spent(row)
        if row.max_budget is not None and spent >= row.max_budget:
            message = (
                f"Budget has been exceeded! Key={row.key_alias or 'key'} ({row.key_name}) "
                f"Current cost: {spent}, Max budget: {row.max_budget}"
            )
            raise AuthError(422, message, kind="budget_exceeded", failure=BUDGET_EXCEEDED)

    def _served(self, call: _Call, answer: Answer) -> JSONResponse:
        deployment = answer.deployment
        usage = _usage(answer.body)
        cost = (
            usage.prompt_tokens * deployment.input_cost_per_token
            + usage.completion_tokens * deployment.output_cost_per_token
        )
        self._limits.used(call.key, usage.total_tokens)
        body = {
            **answer.body,
            "id": call.request_id,
            "created": int(self._clock.now().timestamp()),
            "model": call.group,
        }
        record = call.record(self._clock.now(), self._router.settings.num_retries).model_copy(
            update={
                "deployment": deployment,
                "model_group": deployment.model_name,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "cost": cost,
                "retries": answer.retries,
                "fallbacks": answer.fallbacks,
            }
        )
        self._spend.add(record)
        self._count_served(call, record)
        return JSONResponse(body, headers=self._headers(call, answer, cost))

    def _headers(self, call: _Call, answer: Answer, cost: float) -> dict[str, str]:
        key, deployment = call.key, answer.deployment
        headers = {
            "x-litellm-call-id": call.call_id,
            "x-litellm-model-id": deployment.model_id,
            "x-litellm-model-name": deployment.model,
            "x-litellm-model-group": deployment.model_name,
            "x-litellm-model-api-base": deployment.api_base,
            "x-litellm-version": VERSION,
            "x-litellm-response-cost": str(cost),
            "x-litellm-key-spend": str(self._spend.spent(self._store.keys.get(key.token, key))),
            "x-litellm-attempted-retries": str(answer.retries),
            "x-litellm-attempted-fallbacks": str(answer.fallbacks),
        }
        remaining = self._limits.remaining_requests(key)
        if remaining is not None:
            headers["x-litellm-key-rpm-limit"] = str(key.rpm_limit)
            headers["x-ratelimit-api_key-limit-requests"] = str(key.rpm_limit)
            headers["x-ratelimit-api_key-remaining-requests"] = str(remaining)
        return headers

    def _count_served(self, call: _Call, record: CallRecord) -> None:
        deployment = record.deployment
        assert deployment is not None
        labels = {
            **call.labels,
            "model": deployment.provider_model,
            "requested_model": call.group,
            "model_id": deployment.model_id,
            "api_provider": deployment.provider,
            "status_code": "200",
            "route": ROUTE,
        }
        self._metrics.add("litellm_spend_metric_total", labels, record.cost)
        self._metrics.add("litellm_total_tokens_metric_total", labels, record.total_tokens)
        self._metrics.add("litellm_input_tokens_metric_total", labels, record.prompt_tokens)
        self._metrics.add("litellm_output_tokens_metric_total", labels, record.completion_tokens)
        self._metrics.add("litellm_proxy_total_requests_metric_total", labels)

    def _refused(self, call: _Call, error: GatewayError) -> None:
        upstream = error if isinstance(error, UpstreamError) else None
        deployment = upstream.deployment if upstream else None
        request_id = str(uuid.uuid4()) if isinstance(error, AuthError) else call.call_id
        record = call.record(self._clock.now(), self._router.settings.num_retries).model_copy(
            update={
                "request_id": request_id,
                "deployment": deployment,
                "model_group": call.group if upstream else "",
                "retries": upstream.retries if upstream else 0,
                "failure": error.failure,
                "message": error.message,
            }
        )
        self._spend.add(record)
        labels = {
            **call.labels,
            "requested_model": call.group,
            "status_code": str(error.status),
            "exception_status": str(error.status),
            "exception_class": _exception_class(error.failure, record),
            "route": ROUTE,
            "model_id": deployment.model_id if deployment else "",
            "api_provider": deployment.provider if deployment else "openai",
        }
        self._metrics.add("litellm_proxy_failed_requests_metric_total", labels)
        self._metrics.add("litellm_proxy_total_requests_metric_total", labels)
        if upstream is None:
            status = "None" if error.failure.error_class == "Exception" else str(error.status)
            self._metrics.add("litellm_deployment_failure_responses_total", {**labels, "exception_status": status})


class _Call:
    """One call under way: its ids, two of which a caller may choose, and its caller."""

    def __init__(self, key: KeyRow, request: GatewayChat, started: datetime, headers: Mapping[str, str]) -> None:
        self.key, self.group, self.started = key, request.model, started
        self.call_id = headers.get("x-litellm-call-id", "")[:MAX_ID] or str(uuid.uuid4())
        self.request_id = f"chatcmpl-{uuid.uuid4()}"
        self.labels = key_labels(key, headers.get("user-agent", ""))
        self._session_id = headers.get("x-litellm-session-id", "")[:MAX_ID] or str(uuid.uuid4())
        self._end_user = request.user or ""

    def record(self, ended: datetime, max_retries: int) -> CallRecord:
        return CallRecord(
            request_id=self.request_id,
            call_id=self.call_id,
            session_id=self._session_id,
            end_user=self._end_user,
            token=self.key.token,
            key_alias=self.key.key_alias,
            user_id=self.key.user_id,
            team_id=self.key.team_id,
            model_group=self.group,
            original_group=self.group,
            deployment=None,
            started=self.started,
            ended=ended,
            max_retries=max_retries,
        )


def _usage(body: JsonObject) -> Usage:
    counts = body.get("usage")
    if not isinstance(counts, dict):
        return Usage(prompt_tokens=0, completion_tokens=0)
    return Usage.model_validate({name: counts.get(name, 0) for name in ("prompt_tokens", "completion_tokens")})


def _exception_class(failure: Failure, record: CallRecord) -> str:
    if failure.category == "litellm_rate_limit":
        return "HTTPException"
    provider = f"{record.deployment.provider.capitalize()}." if record.deployment else ""
    return f"{provider}{failure.error_class}"
