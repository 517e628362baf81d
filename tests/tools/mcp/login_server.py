"""A real MCP server that asks for a login, and gives the tokens itself: `python login_server.py PORT SECONDS`.

Who asks to log in is sent back at once with a code, as by a person who is known already. A token holds for SECONDS.
"""

from __future__ import annotations

import secrets
import sys
import time
from urllib.parse import urlencode

from mcp.server.auth.provider import AccessToken, AuthorizationCode, AuthorizationParams, RefreshToken
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl


class Logins:
    """Who may come in. Everything is kept in memory."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._clients: dict[str, OAuthClientInformationFull] = {}
        self._codes: dict[str, AuthorizationCode] = {}
        self._tokens: dict[str, AccessToken] = {}
        self._refresh: dict[str, RefreshToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self._clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self._clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = secrets.token_urlsafe(32)
        self._codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        return f"{params.redirect_uri}?{urlencode({'code': code, 'state': params.state})}"

    async def load_authorization_code(self, client: OAuthClientInformationFull, code: str) -> AuthorizationCode | None:
        return self._codes.get(code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, code: AuthorizationCode
    ) -> OAuthToken:
        del self._codes[code.code]
        return self._give(client, code.scopes, code.resource)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return self._refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self._refresh[refresh_token.token]
        print("refreshed", flush=True)
        return self._give(client, scopes, None)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self._tokens.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self._tokens.pop(token.token, None)

    def _give(self, client: OAuthClientInformationFull, scopes: list[str], resource: str | None) -> OAuthToken:
        token, again = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        ends = int(time.time()) + self._seconds
        self._tokens[token] = AccessToken(
            token=token, client_id=client.client_id, scopes=scopes, expires_at=ends, resource=resource
        )
        self._refresh[again] = RefreshToken(token=again, client_id=client.client_id, scopes=scopes)
        return OAuthToken(access_token=token, expires_in=self._seconds, refresh_token=again, scope=" ".join(scopes))


def main(port: int, seconds: int) -> None:
    """Serve until it is ended."""
    address = f"http://127.0.0.1:{port}"
    server = MCPServer(
        "vault",
        auth_server_provider=Logins(seconds),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(address),
            resource_server_url=AnyHttpUrl(f"{address}/mcp"),
            client_registration_options=ClientRegistrationOptions(enabled=True),
            validate_token_resource=False,
        ),
        log_level="ERROR",
    )

    @server.tool()
    def secret() -> str:
        """What only those who logged in read."""
        return "the lamp is blue"

    server.run("streamable-http", port=port)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
