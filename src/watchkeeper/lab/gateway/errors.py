"""Refusals in LiteLLM's error shape: `{"error": {"message", "type", "param", "code"}}`.

The HTTP status and `code` always agree. Messages name key aliases and hashes, never keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from watchkeeper.lab.gateway.rows import JsonObject


class GatewayError(Exception):
    """A request that the gateway refuses or cannot serve. `error_class` is what LiteLLM's metrics and logs call it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "None",
        param: str | None = "None",
        error_class: str = "ProxyException",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param
        self.error_class, self.headers = error_class, dict(headers or {})

    def body(self) -> JsonObject:
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": str(self.status),
            }
        }

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


def unauthorized(message: str, *, kind: str = "auth_error") -> GatewayError:
    return GatewayError(401, f"Authentication Error, {message}", kind=kind, param="None", error_class="ProxyException")


def not_found(message: str, *, param: str | None = "None") -> GatewayError:
    return GatewayError(404, message, kind="not_found_error", param=param)


def bad_request(message: str, *, param: str | None = "None", kind: str = "bad_request_error") -> GatewayError:
    return GatewayError(400, message, kind=kind, param=param)
