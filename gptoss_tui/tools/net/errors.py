"""Why an address was not read. All are ToolErrors: the model learns what it can do instead."""

from __future__ import annotations

from gptoss_tui.errors import ToolError


class FetchError(ToolError):
    """An address could not be read."""


class RefusedUrlError(FetchError):
    """The URL itself is refused: its scheme, its port, a user name in it, an odd spelling. Nothing was sent."""


class RefusedAddressError(FetchError):
    """The host is no public address of the internet. No connection was made."""


class RedirectError(FetchError):
    """The server leads elsewhere: too often, nowhere, or to a host that was not allowed yet (`url`)."""

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class UnreachableError(FetchError):
    """There is no such host, or it does not answer, or not in HTTP."""


class StatusError(FetchError):
    """The server answered with an error. `retry_after` in seconds, when it says so."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class TooLargeError(FetchError):
    """The answer is longer than what is read."""


class TooSlowError(FetchError):
    """The answer did not come in time."""


class UnreadableError(FetchError):
    """The answer is in a form that is not read: an image, an encoding that was not asked for."""


def told(error: Exception) -> str:
    """What an error of the connection says, without the address: it may be a proxy's, with its password in it."""
    import aiohttp

    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    return str(error) or type(error).__name__
