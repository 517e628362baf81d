"""Errors in the form of OpenAI's API: `{"error": {"message", "type", "param", "code"}}` and a status."""

from __future__ import annotations

import logging
from typing import Any

from gptoss_tui.errors import ContextOverflowError, GptOssError, GrammarError

_log = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ApiError(GptOssError):
    """A request that cannot be answered. `param` is the path of the invalid field, such as `messages[0].role`.

    `retry_after` is the number of seconds after which a retry makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        """OpenAI's `type` of the error."""
        return _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")

    def body(self) -> dict[str, Any]:
        """The JSON object for the client."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 for an invalid request."""
    return ApiError(400, message, param=param, code=code)


def not_supported(what: str, param: str | None) -> ApiError:
    """A 400 for a feature of OpenAI's API that this server does not have."""
    return invalid(f"{what} is not supported by this server.", param, "unsupported_parameter")


def as_api_error(error: Exception) -> ApiError:
    """Convert an error for the client. Unexpected exceptions are logged, and their text is not sent."""
    if isinstance(error, ApiError):
        return error
    if not isinstance(error, GptOssError):
        _log.error("a request failed", exc_info=error)
        return ApiError(500, "The server had an error while processing your request.", code="internal_error")
    if isinstance(error, ContextOverflowError):
        return invalid(error.message, code="context_length_exceeded")
    if isinstance(error, GrammarError):
        return invalid(error.message[:1000], code="invalid_grammar")
    return ApiError(503, error.message, code="engine_error", retry_after=5)
