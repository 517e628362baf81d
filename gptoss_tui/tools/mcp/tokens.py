"""Stores logins to MCP servers: one file for each address, readable only by its owner."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from platformdirs import user_state_path

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
    from pydantic import BaseModel

Form = TypeVar("Form", bound="BaseModel")


class Tokens:
    """The SDK's token storage for the server at `url`. While `saves` is False, nothing is written.

    In addition to what the SDK stores, it keeps when the token expires and where to refresh it; without that, an
    expired token could only be replaced by a new login.
    """

    def __init__(self, url: str, folder: Path | None = None, *, saves: bool = True) -> None:
        folder = folder or user_state_path("gptoss-tui") / "mcp"
        self.path = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
        self.saves = saves
        self._known: dict[str, Any] = _read(self.path) if saves else {}

    @property
    def exist(self) -> bool:
        """Whether there was a login."""
        return "tokens" in self._known

    async def get_tokens(self) -> OAuthToken | None:
        """The token; None if there is none or it is not valid."""
        from mcp.shared.auth import OAuthToken

        return _valid(OAuthToken, self._known.get("tokens"))

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Save a new token."""
        self._known["tokens"] = tokens.model_dump(mode="json", exclude_none=True)
        self._known["ends"] = None if tokens.expires_in is None else time.time() + tokens.expires_in
        self.save()

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Our client registration at the authorization server, or None."""
        from mcp.shared.auth import OAuthClientInformationFull

        return _valid(OAuthClientInformationFull, self._known.get("client"))

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Save a new client registration."""
        self._known["client"] = client_info.model_dump(mode="json", exclude_none=True)
        self.save()

    def remind(self, provider: OAuthClientProvider) -> None:
        """Restore in `provider` what it discovered during the login."""
        from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

        context, ends = provider.context, self._known.get("ends")
        context.token_expiry_time = ends if isinstance(ends, int | float) else None
        context.oauth_metadata = _valid(OAuthMetadata, self._known.get("metadata"))
        context.protected_resource_metadata = _valid(ProtectedResourceMetadata, self._known.get("resource"))

    def learn(self, provider: OAuthClientProvider) -> None:
        """Remember what `provider` discovered during the login."""
        context = provider.context
        for name, found in (("metadata", context.oauth_metadata), ("resource", context.protected_resource_metadata)):
            self._known[name] = None if found is None else found.model_dump(mode="json", exclude_none=True)

    def save(self) -> None:
        """Write the file atomically. Raises OSError."""
        if not self.saves:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".login-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(self._known, file)
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def forget(self) -> bool:
        """Log out. Returns False when there was no login."""
        self._known = {}
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True


def _valid(form: type[Form], known: object) -> Form | None:
    """Validate stored data; None if it is invalid. The exception is dropped because it would show the token."""
    from pydantic import ValidationError

    try:
        return form.model_validate(known) if known else None
    except ValidationError:
        return None


def _read(path: Path) -> dict[str, Any]:
    """Read the stored data. A damaged file counts as empty, so a new login is required."""
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
