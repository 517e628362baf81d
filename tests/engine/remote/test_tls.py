"""Certificates: what is wrong with one is said once, in words, before anything is sent."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
import trustme

from gptoss_tui.engine.remote import link
from gptoss_tui.engine.remote.address import Address
from gptoss_tui.engine.remote.tls import UntrustedError, tls_error
from tests.engine.remote.servers import VLLM, listening

PROGRAM = """
import asyncio, sys
from pathlib import Path
from gptoss_tui.agent.engines import ask_server
from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.errors import EngineError

for url in sys.argv[1:]:
    try:
        print(asyncio.run(ask_server(EngineSpec(Path(), "remote", url=url))).server)
    except EngineError as error:
        print(error.message)
"""


def server_context(issuer: trustme.CA, name: str = "127.0.0.1", until: datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(name, not_after=until).configure_cert(context)
    return context


async def test_a_stranger_is_told_apart_once_and_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "PAUSE_SECONDS", 3600.0)  # a second try would not end
    async with listening(server := VLLM(), server_context(trustme.CA())) as url:
        connection = link.Link(Address(url.removesuffix("/v1")), "a-key")
        with pytest.raises(
            UntrustedError, match="signed by somebody whom this machine does not trust; nothing was sent"
        ) as caught:
            async for _ in connection.stream("/v1/completions", {}):
                pass
        await connection.close()
    assert "SSL_CERT_FILE" in str(caught.value)
    assert not server.requests


async def test_each_kind_of_certificate(tmp_path: Path) -> None:
    """In a program of its own: which signers are trusted is read once, at its start."""
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(str(tmp_path / "signer.pem"))
    expired = server_context(issuer, until=datetime(2020, 1, 1, tzinfo=UTC))
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(listening(VLLM(), tls))
            for tls in (server_context(issuer), expired, server_context(issuer, "models.example"), None)
        ]
        urls[-1] = urls[-1].replace("http:", "https:")
        environment = os.environ | {"SSL_CERT_FILE": str(tmp_path / "signer.pem")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, *urls), env=environment, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
    good, old, other, plain = told.decode().splitlines()
    assert good == "vLLM"
    assert old.endswith("cannot be trusted: its certificate has expired; nothing was sent")
    assert other.endswith("cannot be trusted: its certificate is for another address; nothing was sent")
    assert plain.endswith("does not speak HTTPS; nothing was sent")


def test_what_has_no_words_of_ours_has_openssls() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)
    error = ssl.SSLCertVerificationError("refused")
    error.verify_code, error.verify_message = 24, "invalid CA certificate"
    told = tls_error("h", aiohttp.ClientConnectorCertificateError(key, error))
    assert "its certificate is refused (invalid CA certificate)" in told.message
    told = tls_error("h", aiohttp.ClientConnectorSSLError(key, ssl.SSLError("no")))
    assert told.message.startswith("No secure connection to h can be made (SSLError)")
