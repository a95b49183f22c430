"""The spend log: one row a call, success or failure, made visible in batches as the real proxy does.

A row shows up only after the next batch (`proxy_batch_write_at`); budgets are checked against what is pending too.
The log is bounded and in memory: the oldest rows go first, and a restart forgets them (a key's `spend` stays).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from watchkeeper.core.model import Contract, Instant
from watchkeeper.lab.gateway.errors import bad_request
from watchkeeper.lab.gateway.rows import Failure, JsonObject, KeyRow, ModelRow
from watchkeeper.lab.gateway.store import Store

MAX_ROWS = 20_000
MAX_PENDING = 20_000
COUNT_CAP = 10_000
SORT_FIELDS = frozenset({"spend", "total_tokens", "startTime", "endTime", "request_duration_ms", "model", "ttft_ms"})


class CallRecord(Contract):
    """One call as the gateway accounts for it. `request_id` is the id the caller was given."""

    request_id: str
    call_id: str
    session_id: str
    end_user: str = ""
    token: str
    key_alias: str | None
    user_id: str | None
    team_id: str | None
    model_group: str
    original_group: str
    deployment: ModelRow | None
    started: Instant
    ended: Instant
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    retries: int = 0
    max_retries: int = 0
    fallbacks: int = 0
    failure: Failure | None = None
    message: str = ""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def status(self) -> str:
        return "success" if self.failure is None else "failure"


class SpendQuery(BaseModel):
    """The filters of `/spend/logs/v2` that the lab serves; they meet."""

    api_key: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    team_id: str | None = None
    min_spend: float | None = None
    max_spend: float | None = None
    start_date: str | None = None
    end_date: str | None = None
    page: int = Field(default=1, ge=1)
    page_size: int = Field(default=50, ge=1, le=1000)
    status_filter: str | None = None
    model: str | None = None
    model_id: str | None = None
    model_group: str | None = None
    key_alias: str | None = None
    error_code: str | None = None
    sort_by: str = "startTime"
    sort_order: str | None = "desc"


class SpendLog:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: deque[CallRecord] = deque(maxlen=MAX_ROWS)
        self._pending: list[CallRecord] = []

    def add(self, record: CallRecord) -> None:
        self._pending.append(record)
        if len(self._pending) >= MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Writes the batch: rows become visible, and keys are charged."""
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        self._rows.extend(batch)
        charged: dict[str, float] = {}
        for record in batch:
            charged[record.token] = charged.get(record.token, 0.0) + record.cost
        self._store.add_spend({token: amount for token, amount in charged.items() if amount > 0})

    def spent(self, key: KeyRow) -> float:
        """What the key has spent, with the calls that no batch has written yet."""
        return key.spend + math.fsum(record.cost for record in self._pending if record.token == key.token)

    def find(self, query: SpendQuery) -> JsonObject:
        start, end = _window(query)
        if query.sort_by not in SORT_FIELDS:
            raise bad_request(f"Invalid sort_by: {query.sort_by}.", param="sort_by", kind="bad_request")
        chosen = [record for record in self._rows if _matches(record, query, start, end)]
        chosen.sort(key=lambda record: _order(record, query.sort_by), reverse=query.sort_order != "asc")
        total = min(len(chosen), COUNT_CAP)
        part = chosen[(query.page - 1) * query.page_size : query.page * query.page_size]
        return {
            "data": [spend_wire(record) for record in part],
            "total": total,
            "page": query.page,
            "page_size": query.page_size,
            "total_pages": math.ceil(total / query.page_size),
            "total_is_capped": len(chosen) > COUNT_CAP,
        }

    def plain(self, *, api_key: str | None, request_id: str | None) -> list[JsonObject]:
        """The old `/spend/logs`: the newest rows, not paged."""
        rows: Iterable[CallRecord] = reversed(self._rows)
        chosen = [
            record
            for record in rows
            if (api_key is None or record.token == api_key)
            and (request_id is None or request_id in (record.request_id, record.call_id))
        ]
        return [_plain_wire(record) for record in chosen[:COUNT_CAP]]


def _window(query: SpendQuery) -> tuple[datetime, datetime]:
    if query.start_date is None or query.end_date is None:
        raise bad_request("Start date and end date are required", kind="bad_request")
    return _date(query.start_date), _date(query.end_date)


def _date(text: str) -> datetime:
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise bad_request(f"Invalid date format: {text}. Expected: 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'", kind="None")


def _matches(record: CallRecord, query: SpendQuery, start: datetime, end: datetime) -> bool:
    deployment = record.deployment
    return (
        start <= record.started <= end
        and query.api_key in (None, record.token)
        and query.user_id in (None, record.user_id)
        and query.team_id in (None, record.team_id)
        and query.request_id in (None, record.request_id, record.call_id)
        and query.status_filter in (None, record.status)
        and query.model in (None, deployment.model if deployment else record.original_group)
        and query.model_id in (None, deployment.model_id if deployment else "")
        and query.model_group in (None, record.model_group)
        and (query.session_id is None or query.session_id in record.session_id)
        and (query.key_alias is None or query.key_alias in (record.key_alias or ""))
        and query.error_code in (None, record.failure.code if record.failure else "")
        and (query.min_spend is None or record.cost >= query.min_spend)
        and (query.max_spend is None or record.cost <= query.max_spend)
    )


def _order(record: CallRecord, field: str) -> float | str:
    match field:
        case "spend":
            return record.cost
        case "total_tokens":
            return record.total_tokens
        case "endTime":
            return record.ended.timestamp()
        case "request_duration_ms":
            return (record.ended - record.started).total_seconds()
        case "model":
            return record.model_group
        case _:
            return record.started.timestamp()


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds")


def spend_wire(record: CallRecord) -> JsonObject:
    """The row as `/spend/logs/v2` returns it."""
    deployment = record.deployment
    return {
        "request_id": record.request_id,
        "call_type": "acompletion",
        "api_key": record.token,
        "spend": record.cost,
        "total_tokens": record.total_tokens,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "startTime": _time(record.started),
        "endTime": _time(record.ended),
        "completionStartTime": _time(record.ended),
        "model": deployment.model if deployment else record.original_group,
        "model_id": deployment.model_id if deployment else "",
        "model_group": record.model_group,
        "custom_llm_provider": deployment.provider if deployment else "openai",
        "api_base": f"{deployment.api_base}/" if deployment else "",
        "user": record.user_id or "",
        "metadata": _metadata(record),
        "cache_hit": "None",
        "cache_key": "Cache OFF",
        "request_tags": [],
        "team_id": record.team_id or "",
        "organization_id": None,
        "end_user": record.end_user,
        "requester_ip_address": "127.0.0.1",
        "session_id": record.session_id,
        "status": record.status,
        "mcp_namespaced_tool_name": None,
        "agent_id": None,
        "litellm_call_id": record.call_id,
        "request_duration_ms": round((record.ended - record.started).total_seconds() * 1000),
    }


def _plain_wire(record: CallRecord) -> JsonObject:
    """The row as the old endpoint returns it: instants end in `Z`."""
    row = spend_wire(record)
    times = ("startTime", "endTime", "completionStartTime")
    return {**row, **{name: str(row[name]).replace("+00:00", "Z") for name in times}}


def _metadata(record: CallRecord) -> JsonObject:
    failure = record.failure
    error: JsonObject | None = None
    if failure is not None:
        error = {
            "error_code": failure.code,
            "error_class": failure.error_class,
            "llm_provider": record.deployment.provider if record.deployment else "openai",
            "traceback": "",
            "error_message": record.message,
            "normalized_error": failure.normalized,
            "error_rate_limit_category": failure.category,
            "error_rate_limit_type": failure.limit_type,
        }
    return {
        "status": None if failure is None else "failure",
        "user_api_key": record.token,
        "user_api_key_alias": record.key_alias,
        "user_api_key_team_id": record.team_id,
        "user_api_key_user_id": record.user_id,
        "user_api_key_org_id": None,
        "user_api_key_team_alias": None,
        "litellm_call_id": record.call_id,
        "error_information": error,
        "usage_object": {
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "total_tokens": record.total_tokens,
        },
        "attempted_retries": record.retries,
        "max_retries": record.max_retries,
        "attempted_fallbacks": record.fallbacks,
        "original_model_group": record.original_group,
    }
