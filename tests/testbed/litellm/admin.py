"""A tester's view of the proxy's API: make keys and deployments, call models, read the spend log.

Written against the real proxy and independent of the adapter under test, so that one can judge the other. Replies are
raw; nothing is retried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import JsonValue

_TIMEOUT_S = 60


@dataclass(frozen=True)
class Key:
    """A virtual key: what its owner sends, and how the gateway's API names it."""

    secret: str
    hash: str


class Admin:
    """Calls with the admin key, and chats with any key."""

    def __init__(self, base_url: str, admin_key: str) -> None:
        self._admin_key = admin_key
        # No kept-alive connections: the proxy resets them after an internal error.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(base_url=base_url, timeout=_TIMEOUT_S, limits=limits, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, **body: JsonValue) -> httpx.Response:
        """One admin call; `body` is sent as JSON."""
        headers = {"authorization": f"Bearer {self._admin_key}"}
        return self._client.request(method, path, headers=headers, json=body or None)

    def add_deployment(self, group: str, deployment: str, api_base: str, **parameters: JsonValue) -> None:
        """Make a deployment that the API can change; 1 USD per million tokens in, 2 out."""
        prices: dict[str, JsonValue] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
        target: dict[str, JsonValue] = {"model": f"openai/{group}", "api_base": api_base, "api_key": "sk-upstream"}
        self._ok(
            self.call(
                "POST",
                "/model/new",
                model_name=group,
                litellm_params={**target, **prices, "weight": 1, **parameters},
                model_info={"id": deployment},
            )
        )

    def delete_deployment(self, deployment: str) -> None:
        self._ok(self.call("POST", "/model/delete", id=deployment))

    def new_key(self, alias: str, **settings: JsonValue) -> Key:
        """A key for every model."""
        made = self._ok(self.call("POST", "/key/generate", key_alias=alias, **settings))
        return Key(secret=made["key"], hash=made["token"])

    def update_key(self, key: Key, **settings: JsonValue) -> dict[str, Any]:
        return self._ok(self.call("POST", "/key/update", key=key.hash, **settings))

    def key_info(self, key: Key) -> dict[str, Any]:
        info: dict[str, Any] = self._ok(self.call("GET", f"/key/info?key={key.hash}"))["info"]
        return info

    def chat(self, key: Key | None, group: str, **body: JsonValue) -> httpx.Response:
        """One short chat; without a key, as the admin."""
        secret = self._admin_key if key is None else key.secret
        messages: list[JsonValue] = [{"role": "user", "content": "hello"}]
        return self._client.post(
            "/chat/completions",
            headers={"authorization": f"Bearer {secret}"},
            json={"model": group, "messages": messages, **body},
        )

    def spend_rows(self, key: Key) -> Sequence[dict[str, Any]]:
        """The key's calls of the last hour, oldest first, as far as the proxy has written them."""
        now = datetime.now(UTC)
        window = {
            "start_date": f"{now - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
            "end_date": f"{now + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
        }
        query = httpx.QueryParams({**window, "api_key": key.hash, "sort_order": "asc", "page_size": "1000"})
        rows: list[dict[str, Any]] = self._ok(self.call("GET", f"/spend/logs/v2?{query}"))["data"]
        return rows

    @staticmethod
    def _ok(reply: httpx.Response) -> dict[str, Any]:
        assert reply.status_code == 200, f"{reply.request.method} {reply.request.url}: {reply.status_code} {reply.text}"
        answer: dict[str, Any] = reply.json()
        return answer
