"""A pretended public web, and canaries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.tools.net.servers import Canary, Site, serve_canary, serve_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as running:
        yield running


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    async with serve_canary() as running:
        yield running
