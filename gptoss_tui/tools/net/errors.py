"""The reasons why a URL could not be read. All are ToolErrors, so the model learns what it can do instead."""

from __future__ import annotations

from gptoss_tui.errors import ToolError


class FetchError(ToolError):
    """A URL could not be read."""


class RefusedUrlError(FetchError):
    """The URL itself is refused, for its scheme, port, user name or unusual spelling. Nothing was sent."""


class RefusedAddressError(FetchError):
    """The host is not at a public internet address. No connection was made."""


class RedirectError(FetchError):
    """The server redirects too often, to nowhere, or to a host that is not allowed yet (`url`)."""

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class UnreachableError(FetchError):
    """The host does not exist, does not answer, or does not speak HTTP."""


class StatusError(FetchError):
    """The server answered with an error. `retry_after` is in seconds, or None if the server did not say."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class TooLargeError(FetchError):
    """The answer is longer than the limit."""


class TooSlowError(FetchError):
    """The answer did not come in time."""


class UnreadableError(FetchError):
    """The answer is in a form that we do not read, such as an image or an encoding that we did not ask for."""


def told(error: Exception) -> str:
    """Describe a connection error without its address, which may be that of a proxy and contain its password."""
    import aiohttp

    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    return str(error) or type(error).__name__
