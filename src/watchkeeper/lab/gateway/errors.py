"""Refusals in LiteLLM's error shapes: `{"error": {"message", "type", "param", "code"}}`, in places `{"detail": ...}`.

The HTTP status and `code` always agree. Messages name key aliases and hashes, never keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from watchkeeper.lab.gateway.rows import Failure, JsonObject, key_hash


class GatewayError(Exception):
    """A request that the gateway refuses or cannot serve. `failure` is what the spend log and the metrics say of it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "None",
        param: str | None = None,
        failure: Failure | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param
        self.failure = failure or Failure(code=str(status), error_class="ProxyException")
        self.headers = dict(headers or {})

    def body(self) -> JsonObject:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": str(self.status)}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


class AuthError(GatewayError):
    """Refused before the call began: the real proxy's answer then names no call id."""


class DetailError(GatewayError):
    """Some endpoints answer in FastAPI's shape and not in OpenAI's."""

    def __init__(self, status: int, error: str, **more: list[str]) -> None:
        super().__init__(status, error)
        self._detail: JsonObject = {"error": error, **{name: list(values) for name, values in more.items()}}

    def body(self) -> JsonObject:
        return {"detail": self._detail}


def unauthorized(message: str, *, kind: str = "auth_error") -> AuthError:
    failure = Failure(code="", error_class="Exception")
    return AuthError(401, f"Authentication Error, {message}", kind=kind, param="None", failure=failure)


def unknown_key(key: str) -> AuthError:
    return AuthError(
        401,
        f"Authentication Error, Invalid proxy server token passed. Received API Key = sk-...{key[-4:]}, "
        f"Key Hash (Token) ={key_hash(key)}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`",
        kind="token_not_found_in_db",
        param="key",
    )


def not_found(message: str, *, param: str | None = None) -> GatewayError:
    return GatewayError(404, message, kind="not_found_error", param=param)


def bad_request(message: str, *, param: str | None = "None", kind: str = "bad_request_error") -> GatewayError:
    return GatewayError(400, message, kind=kind, param=param)


def model_denied(model: str) -> AuthError:
    """The same words for a model that is not allowed and one that does not exist."""
    failure = Failure(code="403", error_class="ProxyException", normalized="403_MODEL_ACCESS_DENIED")
    return AuthError(
        403,
        f"The requested model '{model}' is not available for this API key. Call `/v1/models` to list those that are.",
        kind="key_model_access_denied",
        param="model",
        failure=failure,
    )
