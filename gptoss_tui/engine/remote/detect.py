"""What kind of server is at an address, which model it has, and how to talk to it. Asked once, at load."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from gptoss_tui.engine.remote.completions import TextCompletions, TokenCompletions
from gptoss_tui.engine.remote.dialect import Dialect, Scores, TextForm, count, read_event
from gptoss_tui.engine.remote.link import Link, Refused, raise_error_in
from gptoss_tui.engine.remote.llamacpp import LlamaCpp
from gptoss_tui.engine.remote.ollama import OllamaParsed, OllamaRaw
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.errors import EngineError, ModelNotFoundError
from gptoss_tui.sanitize import to_terminal_line

UNKNOWN_CONTEXT = 32_768
"""Tokens, where neither the server nor the user says how many there are."""

_TRIAL_TOKENS = 4
_SHOWN_NAMES = 12
_OWN = "gptoss-tui"


@dataclass(frozen=True, slots=True)
class Served:
    """A model on a server, and how to talk to it. `server` is what people call the program.

    `schemas`: it enforces JSON schemas.
    """

    model: str
    server: str
    dialect: Dialect
    context: int
    scores: Scores | None = None
    schemas: bool = False


async def detect(link: Link, form: TextForm, context: int | None) -> Served:
    """Ask the server what it is, and try how it talks. `context` is what the user asks for.

    Raises ModelNotFoundError, EngineError, EngineDiedError.
    """
    entry = _choose((await link.get("/v1/models")).get("data"), link)
    model, owner = str(entry["id"]), entry.get("owned_by")
    if owner == "llamacpp":
        room = count(_meta(entry).get("n_ctx")) or await _room_of_llamacpp(link)
        own = Served(model, "llama.cpp", LlamaCpp(model, form), _smaller(context, room), schemas=True)
        return await _tried(link, form, own)
    # SGLang and our own server answer Ollama's routes as well.
    server = {"vllm": "vLLM", "sglang": "SGLang", _OWN: _OWN}.get(str(owner), "")
    if not server and await _is_ollama(link):
        return await _ollama(link, form, model, context)
    room = next(filter(None, (count(entry.get(name)) for name in ("max_model_len", "context_length"))), None)
    if room is None and not server:
        server, room = await _lm_studio(link, model)
    room = _smaller(context, room)
    talk = TokenCompletions(model)
    exact = Served(model, server or "server", talk, room, talk, schemas=server in ("vLLM", "SGLang"))
    if await _speaks_ids(link, form, exact):
        return exact
    return await _tried(link, form, Served(model, server or "server", TextCompletions(model, form), room))


def _smaller(asked: int | None, room: int | None) -> int:
    if room is None:
        return asked or UNKNOWN_CONTEXT
    return min(asked or room, room)


# -- which model ----------------------------------------------------------------------------------------------------


def _choose(listed: Any, link: Link) -> Mapping[str, Any]:
    """The entry of the model that the address names, or of the only one that it can be."""
    every = listed if isinstance(listed, list) else []
    entries = [one for one in every if isinstance(one, dict) and isinstance(one.get("id"), str)]
    asked = link.address.model
    if asked:
        found = [one for one in entries if one["id"] in (asked, f"{asked}:latest")]
    else:
        found = entries if len(entries) == 1 else [one for one in entries if _looks_like_gpt_oss(one["id"])]
    if len(found) == 1:
        return found[0]
    names = ", ".join(to_terminal_line(one["id"]) for one in entries[:_SHOWN_NAMES]) or "none"
    if asked:
        raise ModelNotFoundError(f"{link.address.host} has no model {asked!r}", hint=f"it has: {names}")
    if not entries:
        raise ModelNotFoundError(f"{link.address.host} has no model", hint="load or fetch one there")
    raise ModelNotFoundError(
        f"{link.address.host} has several models",
        hint=f"name one behind a #, as in {link.address.root}/v1#NAME: {names}",
    )


def _looks_like_gpt_oss(name: str) -> bool:
    return "gptoss" in name.lower().replace("-", "").replace("_", "")


def _meta(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = entry.get("meta")
    return meta if isinstance(meta, dict) else {}


# -- which server ---------------------------------------------------------------------------------------------------


async def _is_ollama(link: Link) -> bool:
    try:
        return isinstance((await link.get("/api/version")).get("version"), str)
    except EngineError:
        return False


async def _ollama(link: Link, form: TextForm, model: str, context: int | None) -> Served:
    shown = (await link.post("/api/show", {"model": model})).get("model_info")
    facts = shown if isinstance(shown, dict) else {}
    room = context or await _room_of_ollama(link, model, facts)
    raw = Served(model, "Ollama", OllamaRaw(model, form, room), room)
    if form.begins_message(await _sample(link, form, raw.dialect)):
        return raw
    # What its parser takes apart looks like harmony whatever the model wrote.
    if not _looks_like_gpt_oss(str(facts.get("general.architecture"))):
        raise _not_harmony(raw)
    return Served(model, "Ollama", OllamaParsed(model, form, room), room)


async def _room_of_ollama(link: Link, model: str, facts: Mapping[str, Any]) -> int:
    """What the model is loaded with, as loading it again takes a while; else what we ask for, if it has so much."""
    running = (await link.get("/api/ps")).get("models")
    for one in running if isinstance(running, list) else ():
        if isinstance(one, dict) and model in (one.get("name"), one.get("model")) and one.get("context_length"):
            return count(one["context_length"]) or UNKNOWN_CONTEXT
    longest = next((count(value) for name, value in facts.items() if name.endswith(".context_length")), None)
    return min(longest or UNKNOWN_CONTEXT, UNKNOWN_CONTEXT)


async def _room_of_llamacpp(link: Link) -> int | None:
    settings = (await link.get("/props")).get("default_generation_settings")
    return count(settings.get("n_ctx")) if isinstance(settings, dict) else None


async def _lm_studio(link: Link, model: str) -> tuple[str, int | None]:
    """LM Studio tells the context in an API of its own."""
    try:
        listed = (await link.get("/api/v0/models")).get("data")
    except EngineError:
        return "", None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("id") == model:
            return "LM Studio", count(one.get("loaded_context_length")) or count(one.get("max_context_length"))
    return "", None


# -- how it talks ---------------------------------------------------------------------------------------------------


async def _speaks_ids(link: Link, form: TextForm, served: Served) -> bool:
    try:
        sampled = await _sample(link, form, served.dialect)
    except Refused as error:
        if error.status in (400, 404, 422, 501):
            return False
        raise
    if sampled and served.server != _OWN:
        _check(sampled, form, served)
    return bool(sampled)


async def _tried(link: Link, form: TextForm, served: Served) -> Served:
    """`served`, when a try shows that control tokens go through."""
    try:
        sampled = await _sample(link, form, served.dialect)
    except Refused as error:
        if error.status in (404, 405, 501):
            raise _only_chat(served) from error
        raise
    _check(sampled, form, served)
    return served


async def _sample(link: Link, form: TextForm, dialect: Dialect) -> list[int]:
    """What the model says first to a greeting."""
    params = SamplingParams(temperature=0.0, stop_token_ids=form.stops)
    exchange = dialect.open(form.greeting(), params, _TRIAL_TOKENS)
    sampled: list[int] = []
    async with aclosing(link.stream(exchange.path, exchange.body)) as events:
        async for event in events:
            raise_error_in(event, link.address.host)
            sampled += [token.id for token in read_event(exchange, event).tokens]
    return sampled + [token.id for token in exchange.finish(stopped=False)]


def _check(sampled: list[int], form: TextForm, served: Served) -> None:
    if not form.begins_message(sampled):
        raise _not_harmony(served)


def _not_harmony(served: Served) -> EngineError:
    return EngineError(
        f"{served.model} on {served.server} does not answer in the harmony format",
        hint="run a gpt-oss model there; some servers leave its control tokens out (see docs/remote.md)",
    )


def _only_chat(served: Served) -> EngineError:
    return EngineError(
        f"{served.server} has no route to continue a prompt as it is", hint="docs/remote.md says which servers have"
    )
