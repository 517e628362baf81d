"""Finds out what kind of server is at an address, which model it has, and how to talk to it. Done once per load."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from gptoss_tui.engine.remote.completions import TextCompletions, TokenCompletions
from gptoss_tui.engine.remote.dialect import Dialect, Scores, TextForm, count, read_event
from gptoss_tui.engine.remote.link import FIRST_SECONDS, Link, RefusedError
from gptoss_tui.engine.remote.llamacpp import LlamaCpp
from gptoss_tui.engine.remote.ollama import OllamaParsed, OllamaRaw
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.errors import EngineDiedError, EngineError, ModelNotFoundError
from gptoss_tui.sanitize import to_terminal_line

UNKNOWN_CONTEXT = 32_768
"""Tokens, if neither the server nor the user says how large the context is."""

_TRIAL_TOKENS = 4
_SHOWN_NAMES = 12
_LONGEST_NAME = 200
_OWN = "gptoss-tui"

_SGLANG_SPARE = 128
"""Tokens at the end of SGLang's context that cannot be used: 7 for a prompt, 1 for an answer in older versions, and
with EAGLE as many as it drafts, which it does not report."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model on a server, and how to talk to it. `server` is the name of the program.

    `schemas`: it enforces JSON schemas.
    """

    model: str
    server: str
    dialect: Dialect
    context: int
    scores: Scores | None = None
    schemas: bool = False


async def detect(link: Link, form: TextForm, context: int | None) -> Served:
    """Ask the server what it is, and test how to talk to it. `context` is what the user asked for.

    Raises ModelNotFoundError, EngineError, EngineDiedError.
    """
    entry = _choose((await link.get("/v1/models")).get("data"), link)
    model, owner = str(entry["id"]), entry.get("owned_by")
    if owner == "llamacpp":
        room = count(_meta(entry).get("n_ctx")) or await _room_of_llamacpp(link)
        own = Served(model, "llama.cpp", LlamaCpp(model, form), _smaller(context, room), schemas=True)
        return await _tried(link, form, own)
    server = {"vllm": "vLLM", "sglang": "SGLang", _OWN: _OWN}.get(str(owner), "")
    if not server and (facts := await _facts_of_ollama(link, model)) is not None:
        return await _ollama(link, form, model, facts, context)
    room = next(filter(None, (count(entry.get(name)) for name in ("max_model_len", "context_length"))), None)
    if server == "SGLang" and room is not None:
        room = max(room - _SGLANG_SPARE, 1)
    if not server and room is None and await _entry_of_lm_studio(link, model) is not None:
        served = await _completions(link, form, Served(model, "LM Studio", TokenCompletions(model), UNKNOWN_CONTEXT))
        # LM Studio loads a model on its first request, and only then reports the size of its context.
        return replace(served, context=_smaller(context, await _room_of_lm_studio(link, model)))
    talk = TokenCompletions(model)
    exact = Served(model, server or "server", talk, _smaller(context, room), talk, schemas=server in ("vLLM", "SGLang"))
    return await _completions(link, form, exact)


async def _completions(link: Link, form: TextForm, exact: Served) -> Served:
    """Return `exact` if the server accepts token ids, otherwise the same server with text."""
    if await _speaks_ids(link, form, exact):
        return exact
    text = TextCompletions(exact.model, form)
    return await _tried(link, form, Served(exact.model, exact.server, text, exact.context))


def _smaller(asked: int | None, room: int | None) -> int:
    if room is None:
        return asked or UNKNOWN_CONTEXT
    return min(asked or room, room)


# -- which model ----------------------------------------------------------------------------------------------------


def _choose(listed: Any, link: Link) -> Mapping[str, Any]:
    """The entry of the model named in the address, or of the only possible one."""
    every = listed if isinstance(listed, list) else []
    entries = [one for one in every if isinstance(one, dict) and _is_name(one.get("id"))]
    asked = link.address.model
    if asked:
        found = [one for one in entries if one["id"] in (asked, f"{asked}:latest")][:1]
    else:
        found = entries if _are_one(entries) else [one for one in entries if _looks_like_gpt_oss(one["id"])]
    if found and _are_one(found):
        return found[0]
    names = ", ".join(one["id"] for one in entries[:_SHOWN_NAMES]) or "none"
    if asked:
        raise ModelNotFoundError(f"{link.address.host} has no model {asked!r}", hint=f"it has: {names}")
    if not entries:
        raise ModelNotFoundError(f"{link.address.host} has no model", hint="load or download one there")
    raise ModelNotFoundError(
        f"{link.address.host} has several models",
        hint=f"name one after a #, as in {link.address.root}/v1#NAME: {names}",
    )


def _is_name(name: Any) -> bool:
    """Whether this can be a model's name. One that cannot be displayed unchanged cannot be requested either."""
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and to_terminal_line(name) == name


def _are_one(entries: list[dict[str, Any]]) -> bool:
    """Whether all entries are names of one model: vLLM reports their origin, our own server has only one model."""
    return len({_OWN if one.get("owned_by") == _OWN else str(one.get("root") or one["id"]) for one in entries}) == 1


def _looks_like_gpt_oss(name: str) -> bool:
    return "gptoss" in name.lower().replace("-", "").replace("_", "")


def _meta(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = entry.get("meta")
    return meta if isinstance(meta, dict) else {}


# -- which server ---------------------------------------------------------------------------------------------------


async def _facts_of_ollama(link: Link, model: str) -> Mapping[str, Any] | None:
    """What Ollama reports about the model's file; None if the server is a different one."""
    try:
        facts = (await link.post("/api/show", {"model": model})).get("model_info")
    except EngineDiedError:
        raise
    except EngineError:
        return None
    return facts if isinstance(facts, dict) and "general.architecture" in facts else None


async def _ollama(link: Link, form: TextForm, model: str, facts: Mapping[str, Any], context: int | None) -> Served:
    room = await _room_of_ollama(link, model, facts, context)
    raw = Served(model, "Ollama", OllamaRaw(model, form, room), room)
    if form.begins_message(await _sample(link, form, raw.dialect)):
        return raw
    # Answers from Ollama's parser look like harmony whatever the model wrote.
    if not _looks_like_gpt_oss(str(facts["general.architecture"])):
        raise _not_harmony(raw)
    return Served(model, "Ollama", OllamaParsed(model, form, room), room)


async def _room_of_ollama(link: Link, model: str, facts: Mapping[str, Any], context: int | None) -> int:
    """The context that was asked for, or else the one that the model is loaded with, because reloading takes a while.

    At most the model's own context, because Ollama does not load it with more.
    """
    longest = next((count(value) for name, value in facts.items() if name.endswith(".context_length")), None)
    if context is not None:
        return _smaller(context, longest)
    running = (await link.get("/api/ps")).get("models")
    for one in running if isinstance(running, list) else ():
        if isinstance(one, dict) and model in (one.get("name"), one.get("model")) and one.get("context_length"):
            return count(one["context_length"]) or UNKNOWN_CONTEXT
    return _smaller(UNKNOWN_CONTEXT, longest)


async def _room_of_llamacpp(link: Link) -> int | None:
    settings = (await link.get("/props")).get("default_generation_settings")
    return count(settings.get("n_ctx")) if isinstance(settings, dict) else None


async def _entry_of_lm_studio(link: Link, model: str) -> Mapping[str, Any] | None:
    """What LM Studio's own API reports about the model; None if the server is a different one."""
    try:
        listed = (await link.get("/api/v0/models")).get("data")
    except EngineDiedError:
        raise
    except EngineError:
        return None
    entries = listed if isinstance(listed, list) else []
    return next((one for one in entries if isinstance(one, dict) and one.get("id") == model), None)


async def _room_of_lm_studio(link: Link, model: str) -> int:
    entry = await _entry_of_lm_studio(link, model) or {}
    return count(entry.get("loaded_context_length")) or _smaller(
        UNKNOWN_CONTEXT, count(entry.get("max_context_length"))
    )


# -- how it talks ---------------------------------------------------------------------------------------------------


async def _speaks_ids(link: Link, form: TextForm, served: Served) -> bool:
    try:
        sampled = await _sample(link, form, served.dialect)
    except RefusedError as error:
        if error.status in (400, 404, 422, 501):
            return False
        raise
    if sampled and served.server != _OWN:
        _check(sampled, form, served)
    return bool(sampled)


async def _tried(link: Link, form: TextForm, served: Served) -> Served:
    """Return `served` after a test has shown that control tokens pass through."""
    try:
        sampled = await _sample(link, form, served.dialect)
    except RefusedError as error:
        if error.status in (404, 405, 501):
            raise _only_chat(served) from error
        raise
    _check(sampled, form, served)
    return served


async def _sample(link: Link, form: TextForm, dialect: Dialect) -> list[int]:
    """The first tokens of the model's reply to a greeting."""
    params = SamplingParams(temperature=0.0, stop_token_ids=form.stops)
    exchange = dialect.open(form.greeting(), params, _TRIAL_TOKENS)
    sampled: list[int] = []
    # An endless reply, or one that is longer than requested, must not block us.
    async with link.patience(FIRST_SECONDS), aclosing(link.stream(exchange.path, exchange.body)) as events:
        async for event in events:
            link.raise_error_in(event)
            sampled += [token.id for token in read_event(exchange, event).tokens]
            if len(sampled) > _TRIAL_TOKENS:
                break
    return sampled + [token.id for token in exchange.finish(stopped=False)]


def _check(sampled: list[int], form: TextForm, served: Served) -> None:
    if not form.begins_message(sampled):
        raise _not_harmony(served)


def _not_harmony(served: Served) -> EngineError:
    return EngineError(
        f"{served.model} on {served.server} does not answer in the harmony format",
        hint="run a gpt-oss model there; some servers leave out the control tokens (see docs/remote.md)",
    )


def _only_chat(served: Served) -> EngineError:
    return EngineError(f"{served.server} cannot continue a raw prompt", hint="docs/remote.md lists servers that can")
