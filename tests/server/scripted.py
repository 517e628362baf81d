"""An engine that answers what a script says, many prompts at a time: the real contract, no model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from gptoss_tui.engine.constraint import Walk
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
from gptoss_tui.errors import EngineDiedError, EngineError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.scripted_engine import ids_of

Script = Callable[[str], str]


def final(text: str) -> Script:
    """Every answer is `text`."""
    return lambda prompt: f"<|channel|>final<|message|>{text}<|return|>"


class ScriptedEngine:
    """`script` gives what follows a prompt, both as texts in which `<|...|>` stands for the special tokens.

    It gives way to the loop between tokens. `slices` counts what it was asked for, `prompts` each answer once.
    `forbidden` are prompts whose answers left what the constraint allows,
    which is an error while it `heeds` constraints.
    """

    def __init__(self, script: Script, *, context: int = 8192, batch: int = 1, hang: bool = False) -> None:
        self.script = script
        self.context = context
        self.batch = batch
        self.hang = hang
        self.prompts: list[str] = []
        self.params: list[SamplingParams] = []
        self.running = 0
        self.most = 0
        self.cut = 0
        self.forbidden: list[str] = []
        self.die = False
        self.heeds = True
        self.loads = 0
        self.slices = 0
        self.scorings = 0
        self._stop = False
        self._tokenizer = load_tokenizer()
        self._cache: list[int] = []

    async def load(self) -> AsyncGenerator[LoadProgress, None]:
        self.loads += 1
        self.die = False
        yield LoadProgress("ready", 1.0, done=True, info=self._info())

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        drawn = params.drawn  # so much of the answer is in the prompt already
        prompt = self._tokenizer.decode(token_ids[: len(token_ids) - drawn])
        if not drawn:
            self.prompts.append(prompt)
            self.params.append(params)
        self._stop = False
        self.slices += 1
        self.running += 1
        self.most = max(self.most, self.running)
        whole = False
        try:
            async for event in self._play(prompt, token_ids, params):
                whole = isinstance(event, Finished)
                yield event
        finally:
            self.running -= 1
            self.cut += not whole

    async def _play(
        self, prompt: str, token_ids: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[GenerationEvent, None]:
        cached = _common(self._cache, token_ids)
        yield PrefillProgress(len(token_ids), len(token_ids), cached)
        if self.die:
            raise EngineDiedError("The engine's process ended: killed by SIGKILL")
        ids = ids_of(self._tokenizer, self.script(prompt))[params.drawn :]
        walk = Walk(params.constraint) if params.constraint is not None and self.heeds else None
        reason: FinishReason = "stop"
        pending: list[Token] = []
        count = 0
        for token_id in ids:
            if count == (params.max_tokens or self.context) or self._stop:
                reason = "length" if count == params.max_tokens else "cancelled"
                break
            if walk is not None and walk.state is not None:
                if token_id not in walk.state.following and not (walk.state.text and token_id < 199_998):
                    self.forbidden.append(prompt)
                    raise EngineError("the script says what the constraint forbids")
                walk.advance(token_id)
            count += 1
            top = tuple((token_id + n, -0.5 - n) for n in range(params.top_logprobs))
            pending.append(Token(token_id, -0.5, top))
            if len(pending) == self.batch or token_id in params.stop_token_ids:
                yield TokenBatch(tuple(pending))
                pending = []
                await asyncio.sleep(0)
            if token_id in params.stop_token_ids:
                break
        if pending:
            yield TokenBatch(tuple(pending))
        if self.hang:
            await asyncio.Event().wait()
        self._cache = [*token_ids, *ids[:count]]
        usage = Usage(len(token_ids), cached, len(token_ids) - cached, count, 0.1, 0.1)
        yield Finished(reason, usage)

    async def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        self._stop = False
        self.scorings += 1
        for after in [*token_ids[start + 1 :], None]:
            if self._stop:
                return
            top_logprobs = tuple((n, -0.25 - n) for n in range(top))
            yield (ScoredPosition(after, None if after is None else -0.25, top_logprobs),)
            await asyncio.sleep(0)

    async def cancel(self) -> None:
        self._stop = True

    async def info(self) -> EngineInfo | None:
        return self._info()

    def _info(self) -> EngineInfo:
        return EngineInfo("scripted", "scripted", "none", "none", 1, 1, 201_088, self.context, 0)

    async def close(self) -> None:
        pass


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
