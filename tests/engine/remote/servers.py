"""Servers on loopback that speak as vLLM, llama.cpp, Ollama and LM Studio do, with the faults that servers have.

The shapes of their replies are those of the sources: vLLM's and SGLang's completion serving, llama.cpp's `server-task`,
Ollama's `routes`. What the model says is a script of token ids.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from gptoss_tui.agent.engines import open_engine
from gptoss_tui.engine.remote.client import RemoteEngine
from gptoss_tui.engine.types import (
    Engine,
    EngineSpec,
    Finished,
    GenerationEvent,
    SamplingParams,
    ScoredPosition,
    Token,
    TokenBatch,
)
from gptoss_tui.harmony.parser import ContentDelta, MessageFinished, MessageStarted, StreamParser
from gptoss_tui.harmony.tokenizer import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MESSAGE,
    RETURN,
    SPECIAL_TOKENS,
    START,
    STOP_TOKENS,
    load_tokenizer,
)

TOKENIZER = load_tokenizer()
MODEL = "openai/gpt-oss-20b"
PROMPT = [START, *TOKENIZER.encode("user"), MESSAGE, *TOKENIZER.encode("Say hello"), END]
PROMPT += [START, *TOKENIZER.encode("assistant")]
ANSWER = [
    *(CHANNEL, *TOKENIZER.encode("analysis"), MESSAGE, *TOKENIZER.encode("A 🦙 — naïve?"), END),
    *(START, *TOKENIZER.encode("assistant"), CHANNEL, *TOKENIZER.encode("final"), MESSAGE),
    *(*TOKENIZER.encode("Hello 🦙, 你好!"), RETURN),
]
CALLING = [
    *(CHANNEL, *TOKENIZER.encode("commentary to=functions.read_file "), CONSTRAIN, *TOKENIZER.encode("json"), MESSAGE),
    *(*TOKENIZER.encode('{"path": "a.py"}'), CALL),
]
"""A call that ends with a token which most servers keep to themselves."""


def messages(token_ids: list[int]) -> list[MessageFinished]:
    """What these tokens say, and how each message ends."""
    parser = StreamParser(TOKENIZER)
    events = [*parser.feed(token_ids), *parser.finish()]
    return [replace(event, num_tokens=0) for event in events if isinstance(event, MessageFinished)]


def spelled(token_ids: list[int]) -> str:
    return TOKENIZER.decode(token_ids)


@dataclass
class FakeServer:
    """One server. The fields are its faults; `requests` what it was asked to generate."""

    script: list[int] = field(default_factory=lambda: list(ANSWER))
    structured: list[int] = field(default_factory=list)  # what the model says when it has to follow a schema
    models: list[dict[str, Any]] = field(default_factory=list)
    pieces: int = 0  # cut what is sent into pieces of so many bytes
    comments: bool = False
    usage: bool = True
    statuses: list[tuple[int, str]] = field(default_factory=list)  # what the next generations are answered with
    dies_after: int | None = None  # events
    fails_after: int | None = None
    failure: str = "CUDA error: out of memory"
    hangs: asyncio.Event | None = None  # no headers before it is set
    greeting_hangs: asyncio.Event | None = None
    greets_for_ever: bytes = b""  # what it goes on with behind a greeting
    stalls_after: int | None = None  # says that it is there, and nothing else
    hangs_after: int | None = None
    key: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    tries: int = 0
    greeted: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # the client went away in the middle
    port: int = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self.list_models)
        return app

    async def list_models(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            given = request.headers.get("Authorization")
            return web.json_response({"error": {"message": f"Incorrect API key provided: {given}"}}, status=401)
        return web.json_response({"object": "list", "data": self.models})

    async def reply(self, request: web.Request, body: dict[str, Any], events: list[bytes]) -> web.StreamResponse:
        """Stream events, with the faults of this server. A greeting of the client is answered without them."""
        if "Hi" in spelled_prompt(body):
            return await self._greet(request, events)
        self.tries += 1
        self.asked.set()
        if self.hangs is not None:
            await self.hangs.wait()
        if self.statuses:
            return await self._refuse(request, *self.statuses.pop(0))
        self.requests.append(body)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await self._send(request, response, events)
        except (ConnectionError, asyncio.CancelledError):
            self.gone.set()
            raise
        return response

    async def _greet(self, request: web.Request, events: list[bytes]) -> web.StreamResponse:
        self.greeted.set()
        if self.greeting_hangs is not None:
            await self.greeting_hangs.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"".join(events[:-1] if self.greets_for_ever else events))
        while self.greets_for_ever:
            await response.write(self.greets_for_ever)
            await asyncio.sleep(0)
        return response

    async def _refuse(self, request: web.Request, status: int, text: str) -> web.StreamResponse:
        """In two pieces, as what is longer than a packet comes."""
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        for piece in (text[:20], text[20:]):
            await response.write(piece.encode())
            await asyncio.sleep(0.002)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, events: list[bytes]) -> None:
        for number, event in enumerate(events):
            if number == self.dies_after:
                assert request.transport is not None
                request.transport.abort()
                return
            if number == self.fails_after:
                event = sse({"error": {"message": self.failure, "code": 500}})
            if number == self.hangs_after:
                await asyncio.sleep(3600)
            while number == self.stalls_after:
                await response.write(b": still there\n\n")
                await asyncio.sleep(0.01)
            if self.comments:
                await response.write(b": keep-alive\n\n")
            for piece in _cut(event, self.pieces):
                await response.write(piece)
                if self.pieces:
                    await asyncio.sleep(0)


def spelled_prompt(body: dict[str, Any]) -> str:
    prompt = body["prompt"]
    return prompt if isinstance(prompt, str) else spelled(prompt)


def _cut(event: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(event), size or len(event)):
        yield event[start : start + (size or len(event))]


def sse(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


class VLLM(FakeServer):
    """`vllm serve`: ids in and out, the cost in an event of its own."""

    def app(self) -> web.Application:
        self.models = self.models or [{"id": MODEL, "owned_by": "vllm", "max_model_len": 4096}]
        app = super().app()
        app.router.add_post("/v1/completions", self.complete)
        return app

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body.get("stream"):
            self.asked.set()
            if self.hangs is not None:
                await self.hangs.wait()
            return web.json_response(self.scored(body))
        context = self.models[0]["max_model_len"]
        if len(body["prompt"]) + body["max_tokens"] > context:
            return refused(f"This model's maximum context length is {context} tokens.")
        events = []
        script = (self.structured if "response_format" in body else self.script)[: body["max_tokens"]]
        for number, token in enumerate(script):
            last = number == len(script) - 1
            finish = None if not last else "stop" if token in STOP_TOKENS else "length"
            choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": finish, "stop_reason": None}
            choice["token_ids"] = [token] if body.get("return_token_ids") else None
            if (top := body.get("logprobs")) is not None:
                named = {f"token_id:{token + other}": -0.25 - other for other in range(top)}
                choice["logprobs"] = {"tokens": [""], "token_logprobs": [-0.25], "top_logprobs": [named]}
            events.append(sse({"id": "cmpl-1", "object": "text_completion", "model": MODEL, "choices": [choice]}))
        cost = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(script), "total_tokens": 0}
        cost["prompt_tokens_details"] = {"cached_tokens": 3}
        if self.usage:
            events.append(sse({"id": "cmpl-1", "choices": [], "usage": cost}))
        return await self.reply(request, body, [*events, sse("[DONE]")])

    def scored(self, body: dict[str, Any]) -> dict[str, Any]:
        own = [None, *(-1.5 for _ in body["prompt"][1:]), -0.1]
        tops = [
            None,
            *({f"token_id:{token}": -1.5, "token_id:7": -0.5} for token in body["prompt"][1:]),
            {"token_id:5": -0.1},
        ]
        return {"choices": [{"index": 0, "text": "x", "logprobs": {"token_logprobs": own, "top_logprobs": tops}}]}


class SGLang(VLLM):
    """Keeps the token that ended the text, and names it. Does not give the end of its context, in older versions."""

    def app(self) -> web.Application:
        self.models = [{"id": MODEL, "owned_by": "sglang", "max_model_len": 4096}]
        return super().app()

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        context, length = self.models[0]["max_model_len"], len(body["prompt"])
        if length >= context - 6 or length + body["max_tokens"] >= context:
            return refused(f"Requested token count exceeds the model's maximum context length of {context} tokens.")
        if body["top_k"] < 1 and body["top_k"] != -1:
            return refused(f"top_k must be -1 (disable) or at least 1, got {body['top_k']}.")
        events = [
            sse({"choices": [{"index": 0, "text": "", "token_ids": [token], "finish_reason": None}]})
            for token in self.script[:-1][: body["max_tokens"]]
        ]
        end = {"index": 0, "text": "", "token_ids": [], "finish_reason": "stop", "matched_stop": self.script[-1]}
        return await self.reply(request, body, [*events, sse({"choices": [end]}), sse("[DONE]")])


class LlamaCpp(FakeServer):
    """`llama-server`: a character's tokens come with its last one only, the prompt's progress before all.

    `drafts`: it speculated, and older versions count all tokens of a step before they send the first.
    """

    drafts = 0

    def app(self) -> web.Application:
        meta = {"n_vocab": 201088, "n_ctx": 4096, "n_ctx_train": 131072}
        self.models = [{"id": "gpt-oss-20b.gguf", "owned_by": "llamacpp", "meta": meta}]
        app = super().app()
        app.router.add_post("/completion", self.complete)
        return app

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        script = (self.structured if "json_schema" in body else self.script)[: body["n_predict"]]
        total = len(body["prompt"])
        if total >= self.models[0]["meta"]["n_ctx"]:
            return refused("the request exceeds the available context size")
        progress = {"total": total, "cache": 4, "processed": total, "time_ms": 1}
        events = [
            sse({"content": "", "tokens": [0], "stop": False, "tokens_predicted": 0, "prompt_progress": progress})
        ]
        held = b""
        for number, token in enumerate(script, start=1):
            held += TOKENIZER.token_bytes(token)
            try:
                text = held.decode()
            except UnicodeDecodeError:
                continue
            held = b""
            text = "" if token in SPECIAL_TOKENS else text
            counted = number + self.drafts - number % (self.drafts + 1)
            events.append(sse({"content": text, "tokens": [token], "stop": False, "tokens_predicted": counted}))
        stop = "eos" if script[-1] in STOP_TOKENS else "limit"
        end = {"content": "", "tokens": [], "stop": True, "stop_type": stop, "tokens_predicted": len(script)}
        return await self.reply(request, body, [*events, sse(end | {"timings": {"cache_n": 4, "prompt_n": total - 4}})])


OLLAMA_OPTIONS = {
    *("num_ctx", "num_predict", "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "stop"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty"),
}


class Ollama(FakeServer):
    """`ollama serve` up to the version that took llama.cpp's server in: lines of JSON, control tokens as text."""

    control_tokens = True
    architecture = "gptoss"

    def app(self) -> web.Application:
        self.models = self.models or [{"id": "gpt-oss:20b", "owned_by": "library"}]
        app = super().app()
        app.router.add_get("/api/ps", lambda _: _answer({"models": []}))
        shown = {"model_info": {"general.architecture": self.architecture, "gptoss.context_length": 131072}}
        app.router.add_post("/api/show", lambda _: _answer(shown))
        app.router.add_post("/api/generate", self.generate)
        return app

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert body["options"].keys() <= OLLAMA_OPTIONS, "it would leave the others out"
        script = self.script[: body["options"]["num_predict"]]
        ended = script[-1] in STOP_TOKENS
        said = script[:-1] if ended else script
        events = [_line({"model": body["model"], "response": text, "done": False}) for text in self.texts(said)]
        end = {"model": body["model"], "response": "", "done": True, "done_reason": "stop" if ended else "length"}
        return await self.reply(
            request, body, [*events, _line(end | {"prompt_eval_count": 9, "eval_count": len(said)})]
        )

    def texts(self, token_ids: list[int]) -> Iterator[str]:
        held = b""
        for token in token_ids:
            if token in SPECIAL_TOKENS:
                if self.control_tokens:
                    yield SPECIAL_TOKENS[token]
                continue
            held += TOKENIZER.token_bytes(token)
            try:
                yield held.decode()
                held = b""
            except UnicodeDecodeError:
                continue


class NewOllama(Ollama):
    """Leaves control tokens out of what it sends raw, and takes what it sends otherwise apart with its parser."""

    control_tokens = False
    parser = True

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("raw") or not self.parser:
            return await super().generate(request)
        assert body["template"] == "{{ .Prompt }}"
        script = self.script[: body["options"]["num_predict"]]
        parser = StreamParser(TOKENIZER)
        events: list[bytes] = []
        calls = []
        fields: dict[int, str] = {}
        for event in (event for token in script for event in parser.feed([token])):
            if isinstance(event, MessageStarted) and event.recipient is None:
                fields[event.index] = "thinking" if event.channel == "analysis" else "response"
            elif isinstance(event, ContentDelta) and event.index in fields:
                events.append(_line({"response": "", fields[event.index]: event.text, "done": False}))
            elif isinstance(event, MessageFinished) and event.message.recipient:
                name = event.message.recipient.removeprefix("functions.")
                calls.append({"function": {"name": name, "arguments": json.loads(event.message.content)}})
        reason = "stop" if script[-1] in STOP_TOKENS else "length"
        end = {"response": "", "done": True, "done_reason": reason, **({"tool_calls": calls} if calls else {})}
        return await self.reply(request, body, [*events, _line(end)])


class OtherOllama(NewOllama):
    """With a model that is not gpt-oss: neither way has control tokens."""

    parser = False
    architecture = "llama"


class LMStudio(Ollama):
    """Texts in and out over OpenAI's route; token ids are refused. Loads its model when it is asked something."""

    def app(self) -> web.Application:
        self.models = [{"id": "openai/gpt-oss-20b", "object": "model", "owned_by": "organization_owner"}]
        app = FakeServer.app(self)
        app.router.add_get("/api/v0/models", self.facts)
        app.router.add_post("/v1/completions", self.complete)
        return app

    async def facts(self, request: web.Request) -> web.Response:
        entry = {"id": "openai/gpt-oss-20b", "state": "not-loaded", "max_context_length": 131072}
        loaded = {"state": "loaded", "loaded_context_length": 8192}
        return web.json_response({"data": [entry | loaded if self.greeted.is_set() else entry]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not isinstance(body["prompt"], str):
            return web.json_response({"error": "'prompt' field must be a string"}, status=400)
        script = self.script[: body["max_tokens"]]
        ended = script[-1] in STOP_TOKENS
        events = [
            sse({"choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": None}]})
            for text in self.texts(script[:-1] if ended else script)
        ]
        end = {"index": 0, "text": "", "logprobs": None, "finish_reason": "stop" if ended else "length"}
        return await self.reply(request, body, [*events, sse({"choices": [end]}), sse("[DONE]")])


class OnlyChat(FakeServer):
    """A service that has chats and nothing else. Others than Ollama have a version, too."""

    def app(self) -> web.Application:
        self.models = [{"id": "gpt-oss-20b", "owned_by": "somebody"}]
        app = super().app()
        app.router.add_get("/api/version", lambda _: _answer({"version": "0.6.5"}))
        return app


def refused(words: str) -> web.Response:
    """As OpenAI's API refuses."""
    return web.json_response({"error": {"message": words, "type": "BadRequestError"}}, status=400)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


async def _answer(value: dict[str, Any]) -> web.Response:
    return web.json_response(value)


@asynccontextmanager
async def listening(server: FakeServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve, and give the address for `--model`."""
    scheme = "http" if tls is None else "https"
    runner = TestServer(server.app(), host="127.0.0.1", scheme=scheme)
    await runner.start_server(ssl=tls)
    server.port = runner.port or 0
    try:
        yield f"{scheme}://127.0.0.1:{server.port}/v1"
    finally:
        await runner.close()


@asynccontextmanager
async def connected(server: FakeServer, *, context: int | None = None) -> AsyncIterator[RemoteEngine]:
    """An engine that has the model of `server`."""
    async with listening(server) as url:
        engine = open_engine(EngineSpec(Path(), "remote", url=url, context=context))
        assert isinstance(engine, RemoteEngine)
        try:
            await loaded(engine)
            yield engine
        finally:
            await engine.close()


async def loaded(engine: Engine) -> None:
    async for _ in engine.load():
        pass


async def scored(engine: RemoteEngine, top: int = 5) -> list[ScoredPosition]:
    """What the server says of the prompt."""
    return [position async for batch in engine.score(PROMPT, top) for position in batch]


async def generated(
    engine: RemoteEngine, prompt: list[int] | None = None, **params: Any
) -> tuple[list[Token], Finished, list[GenerationEvent]]:
    """The tokens, the end and all events of a generation."""
    chosen = SamplingParams(**{"temperature": 0.0, "stop_token_ids": STOP_TOKENS, **params})
    events = [event async for event in engine.generate(prompt or PROMPT, chosen)]
    tokens = [token for event in events if isinstance(event, TokenBatch) for token in event.tokens]
    finished = events[-1]
    assert isinstance(finished, Finished)
    return tokens, finished, events
