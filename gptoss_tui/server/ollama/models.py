"""Describes the available models in Ollama's API: the model under all its names, and the server itself."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from gptoss_tui import __version__
from gptoss_tui.server.body import read_body
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.service import SERVICE, Service

_FOR_EVER = timedelta(days=36_500)
_ON_GPU = ("metal", "triton")


async def tags(request: web.Request) -> web.Response:
    """List the available models."""
    service = request.app[SERVICE]
    modified = datetime.fromtimestamp(service.created, UTC).isoformat()
    return web.json_response(
        {"models": [{**_described(service, name), "modified_at": modified} for name in service.names]}
    )


async def ps(request: web.Request) -> web.Response:
    """List the models in memory: the only model, under the same names as in `tags`, once it is loaded."""
    service = request.app[SERVICE]
    info = service.host.info
    if info is None:
        return web.json_response({"models": []})
    loaded = {
        "expires_at": (datetime.fromtimestamp(service.created, UTC) + _FOR_EVER).isoformat(),
        "size_vram": info.weight_bytes if info.backend in _ON_GPU else 0,
        "context_length": info.context,
    }
    return web.json_response({"models": [{**_described(service, name), **loaded} for name in service.names]})


async def show(request: web.Request) -> web.Response:
    """Describe what a model can do."""
    service = request.app[SERVICE]
    fields = await read_body(request, typed=False)
    asked = Fields({"model": fields.values.get("model") or fields.values.get("name")})
    described = _described(service, service.model(asked))
    info = service.host.info
    facts = {"general.architecture": "gptoss", "gptoss.context_length": info.context if info else None}
    capabilities = ["completion", "tools", "thinking"]
    return web.json_response({"details": described["details"], "model_info": facts, "capabilities": capabilities})


async def root(request: web.Request) -> web.Response:
    """Confirm that the server is running: Ollama's own client asks this before everything else."""
    return web.Response(text="gptoss-tui is running\n")


async def version(request: web.Request) -> web.Response:
    """Report our own version. Clients ask for it to see whether the server is running."""
    return web.json_response({"version": __version__})


def _described(service: Service, name: str) -> dict[str, Any]:
    info = service.host.info
    return {
        "name": name,
        "model": name,
        "size": info.weight_bytes if info else 0,
        "digest": hashlib.sha256(name.encode()).hexdigest(),  # of the name: there is no manifest, but clients slice it
        "details": {"format": "safetensors", "family": "gptoss", "families": ["gptoss"], "quantization_level": "MXFP4"},
    }
