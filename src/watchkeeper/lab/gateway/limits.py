"""The limits of a key: requests and tokens in a fixed window that opens with the first request, and calls in flight.

As in the real limiter the window outlives its limit: a limit set again within it meets the old counts.
It is kept in memory only. Tokens are counted when a call ends, so one call may overshoot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from watchkeeper.core.clock import Clock
from watchkeeper.lab.gateway.errors import GatewayError
from watchkeeper.lab.gateway.rows import Failure, KeyRow


@dataclass
class _Window:
    opened: float
    requests: int = 0
    tokens: int = 0


class Limits:
    def __init__(self, clock: Clock, window_s: float = 60.0) -> None:
        self._clock = clock
        self._window_s = window_s
        self._windows: dict[str, _Window] = {}
        self._in_flight: dict[str, int] = {}

    @contextmanager
    def admitted(self, key: KeyRow) -> Iterator[None]:
        """Holds one place for the length of a call, or raises the 429 of the limit that is reached."""
        parallel = self._in_flight.get(key.token, 0)
        if key.max_parallel_requests is not None and parallel >= key.max_parallel_requests:
            raise self._refusal(key, "max_parallel_requests", key.max_parallel_requests)
        self._count(key)
        self._in_flight[key.token] = parallel + 1
        try:
            yield
        finally:
            self._in_flight[key.token] -= 1
            if not self._in_flight[key.token]:
                del self._in_flight[key.token]

    def remaining_requests(self, key: KeyRow) -> int | None:
        window = self._windows.get(key.token)
        if key.rpm_limit is None or window is None:
            return None
        return max(0, key.rpm_limit - window.requests)

    def used(self, key: KeyRow, tokens: int) -> None:
        window = self._windows.get(key.token)
        if window is not None:
            window.tokens += tokens

    def _count(self, key: KeyRow) -> None:
        if key.rpm_limit is None and key.tpm_limit is None:
            return
        now = self._clock.monotonic()
        window = self._windows.get(key.token)
        if window is None or now - window.opened >= self._window_s:
            window = self._windows[key.token] = _Window(opened=now)
        if key.rpm_limit is not None and window.requests >= self._allowed(key.rpm_limit):
            raise self._refusal(key, "requests", key.rpm_limit)
        if key.tpm_limit is not None and window.tokens >= self._allowed(key.tpm_limit):
            raise self._refusal(key, "tokens", key.tpm_limit)
        window.requests += 1

    def _allowed(self, per_minute: int) -> int:
        """A limit's share of one window: the whole limit in the real gateway's minute, at least one otherwise."""
        return math.ceil(per_minute * self._window_s / 60.0)

    def _refusal(self, key: KeyRow, kind: str, limit: int) -> GatewayError:
        resets = self._clock.now() + timedelta(seconds=self._window_s)
        reset_at = resets.strftime("%Y-%m-%d %H:%M:%S UTC")
        return GatewayError(
            429,
            f"Rate limit exceeded for api_key: {key.token}. Limit type: {kind}. "
            f"Current limit: {limit}, Remaining: 0. Limit resets at: {reset_at}",
            kind="throttling_error",
            failure=Failure(
                code="429",
                error_class="ProxyRateLimitError",
                normalized="429_RATE_LIMIT_EXCEEDED",
                category="litellm_rate_limit",
                limit_type=kind,
            ),
            headers={"retry-after": str(round(self._window_s)), "rate_limit_type": kind, "reset_at": reset_at},
        )
