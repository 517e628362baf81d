"""An engine that plays recorded token ids: the real contract, no model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from gptoss_tui.engine.cache.prefix import prefix_digest
from gptoss_tui.engine.types import (
    EngineInfo,
    Finished,
    FinishReason,
    GenerationEvent,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    TokenBatch,
    Usage,
)
from gptoss_tui.errors import ContextOverflowError, EngineDiedError
from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, Tokenizer

_SPECIAL_IDS = {text: token_id for token_id, text in SPECIAL_TOKENS.items()}


def ids_of(tokenizer: Tokenizer, transcript: str) -> list[int]:
    """Token ids of a transcript in which `<|...|>` stands for the special tokens."""
    ids: list[int] = []
    rest = transcript
    while rest:
        found = [(rest.index(text), text) for text in _SPECIAL_IDS if text in rest]
        if not found:
            return ids + tokenizer.encode(rest)
        at, text = min(found)
        ids += [*tokenizer.encode(rest[:at]), _SPECIAL_IDS[text]]
        rest = rest[at + len(text) :]
    return ids


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `generate`, and how many of its prompt tokens were cached."""

    prompt: tuple[int, ...]
    params: SamplingParams
    cached: int


@dataclass
class ScriptedEngine:
    """Plays one script a generation, token by token, giving way to the loop between tokens.

    A prompt that ends where the last generation was cut is continued with the rest of its script, as a model would.
    `hang_after` N stops before the N-th token of a generation and waits to be cancelled; `die_after` N loses the worker
    there.
    """

    scripts: list[list[int]]
    context: int = 4096
    batch: int = 1
    hang_after: int | None = None
    die_after: int | None = None
    on_hang: Callable[[], object] | None = None
    requests: list[Request] = field(default_factory=list)
    running: int = 0
    dead: bool = False
    kept: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _cache: list[int] = field(default_factory=list)
    _rest: list[int] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Whether no generation runs."""
        return self.running == 0

    async def load(self) -> AsyncIterator[LoadProgress]:
        """A fresh worker with an empty cache."""
        self.dead = False
        self._cache = []
        self.kept = {}
        yield LoadProgress("ready", 1.0, done=True, info=await self.info())

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncIterator[GenerationEvent]:
        """Play the next script."""
        if self.dead:
            raise EngineDiedError("The engine process is gone", hint="restart it")
        if len(token_ids) >= self.context:
            raise ContextOverflowError("The prompt is longer than the context")
        assert self.idle, "two generations at once"
        cached = max(_common_prefix(prefix, token_ids) for prefix in (self._cache, *self.kept.values()))
        if params.keep_prefix:
            prefix = tuple(token_ids[: params.keep_prefix])
            self.kept[prefix_digest(prefix)] = prefix
        self.requests.append(Request(tuple(token_ids), params, cached))
        script = self._rest if self._rest and list(token_ids) == self._cache else self.scripts.pop(0)
        self._cache, self._rest = list(token_ids), []
        self.running += 1
        try:
            async for event in self._play(script, len(token_ids), cached, params):
                yield event
        finally:
            self.running -= 1

    async def _play(
        self, script: list[int], prompt: int, cached: int, params: SamplingParams
    ) -> AsyncIterator[GenerationEvent]:
        for done in (cached, prompt):
            await asyncio.sleep(0)
            yield PrefillProgress(prompt, done, cached)
        room = min(params.max_tokens or self.context, self.context - prompt)
        pending: list[Token] = []
        reason: FinishReason = "stop"
        for count, token_id in enumerate(script):
            if count == room:
                reason = "length" if room == params.max_tokens else "context"
                self._rest = script[count:]
                break
            if count == self.die_after:
                self.dead = True
                raise EngineDiedError("The engine process died", hint="restart it")
            if count == self.hang_after:
                if self.on_hang is not None:
                    asyncio.get_running_loop().call_soon(self.on_hang)
                await asyncio.Event().wait()
            self._cache.append(token_id)
            pending.append(Token(token_id, -0.5))
            if len(pending) == self.batch:
                await asyncio.sleep(0)
                yield TokenBatch(tuple(pending))
                pending = []
            if token_id in params.stop_token_ids:
                break
        if pending:
            yield TokenBatch(tuple(pending))
        generated = len(self._cache) - prompt
        yield Finished(reason, Usage(prompt, cached, prompt - cached, generated, 0.25, 0.5))

    async def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        """Nothing to score with."""
        for _ in token_ids[start:]:
            yield (ScoredPosition(None, None, ()),)

    async def cancel(self) -> None:
        """Generations are cancelled by closing them."""

    async def info(self) -> EngineInfo | None:
        """A tiny model on no device."""
        return EngineInfo(
            "scripted",
            "scripted",
            "none",
            "none",
            1,
            1,
            201_088,
            self.context,
            0,
            len(self._cache),
            tuple(self.kept),
        )

    async def close(self) -> None:
        """Nothing to end."""


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    return length
