"""LiteLLM's Prometheus metrics: its names, its labels, the text format.

Counters start at zero with the process; missing label values read `None`, as prometheus_client writes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchkeeper.lab.gateway.rows import KeyRow, ModelRow

HEALTHY, PARTIAL_OUTAGE, COMPLETE_OUTAGE = 0.0, 1.0, 2.0
MAX_SERIES = 20_000

_KEY = ("hashed_api_key", "api_key_alias", "team", "team_alias")
_CALLER = (*_KEY, "end_user", "user", "user_email", "client_ip", "user_agent")
_DEPLOYMENT = ("litellm_model_name", "model_id", "api_base", "api_provider")
_ANSWERED = (*_DEPLOYMENT, "model_group", "requested_model", *_KEY, "client_ip", "user_agent")
_TOKENS = (*_KEY, "end_user", "user", "user_email", "model", "requested_model", "model_id", "api_provider")

LABELS: Mapping[str, tuple[str, ...]] = {
    "litellm_deployment_state": _DEPLOYMENT,
    "litellm_deployment_total_requests_total": _ANSWERED,
    "litellm_deployment_success_responses_total": _ANSWERED,
    "litellm_deployment_failure_responses_total": (*_ANSWERED, "exception_status", "exception_class"),
    "litellm_deployment_cooled_down_total": (*_DEPLOYMENT, "exception_status"),
    "litellm_deployment_successful_fallbacks_total": (
        *_KEY,
        "requested_model",
        "fallback_model",
        "exception_status",
        "exception_class",
        "model_id",
    ),
    "litellm_spend_metric_total": (
        *_CALLER,
        "model",
        "requested_model",
        "model_id",
        "api_provider",
        "service_tier",
    ),
    "litellm_total_tokens_metric_total": _TOKENS,
    "litellm_input_tokens_metric_total": _TOKENS,
    "litellm_output_tokens_metric_total": _TOKENS,
    "litellm_proxy_total_requests_metric_total": (
        *_CALLER,
        "requested_model",
        "status_code",
        "route",
        "model_id",
        "api_provider",
    ),
    "litellm_proxy_failed_requests_metric_total": (
        *_CALLER,
        "requested_model",
        "exception_status",
        "exception_class",
        "route",
        "model_id",
        "api_provider",
    ),
}


class Metrics:
    """A registry that is as small as the lab needs; beyond `MAX_SERIES` new series are counted and refused."""

    def __init__(self) -> None:
        self._series: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in LABELS}
        self._count = 0
        self.refused = 0

    def add(self, name: str, labels: Mapping[str, str], amount: float = 1.0) -> None:
        key = self._key(name, labels)
        if key is not None:
            self._series[name][key] = self._series[name].get(key, 0.0) + amount

    def set(self, name: str, labels: Mapping[str, str], value: float) -> None:
        key = self._key(name, labels)
        if key is not None:
            self._series[name][key] = value

    def render(self) -> str:
        lines: list[str] = []
        for name, series in self._series.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {name}", f"# TYPE {name} {kind}"]
            for values, value in series.items():
                pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in zip(LABELS[name], values, strict=True))
                lines.append(f"{name}{{{pairs}}} {value}")
        return "\n".join(lines) + "\n"

    def _key(self, name: str, labels: Mapping[str, str]) -> tuple[str, ...] | None:
        key = tuple(labels.get(label, "None") for label in LABELS[name])
        if key not in self._series[name]:
            if self._count >= MAX_SERIES:
                self.refused += 1
                return None
            self._count += 1
        return key


def key_labels(key: KeyRow, user_agent: str) -> dict[str, str]:
    return {
        "hashed_api_key": key.token,
        "api_key_alias": key.alias_label,
        "team": key.team_id or "None",
        "user": key.user_id or "None",
        "client_ip": "127.0.0.1",
        "user_agent": user_agent or "None",
    }


def deployment_labels(row: ModelRow) -> dict[str, str]:
    return {
        "litellm_model_name": row.provider_model,
        "model_id": row.model_id,
        "api_base": row.api_base,
        "api_provider": row.provider,
    }


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
