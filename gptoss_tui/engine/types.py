"""The engine contract: what a front asks of any engine and what it gets back.

Pure data, importable without torch. All of it crosses the process border as plain values.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from gptoss_tui.engine.constraint import TokenAutomaton
from gptoss_tui.engine.dtype import Dense as Dense
from gptoss_tui.engine.dtype import Dtype as Dtype
from gptoss_tui.errors import UsageError

RANDOM_PREFIX = "random:"
"""What a model's name begins with when it is to be made of random numbers, as in `random:gpt-oss-20b`: no path."""

FinishReason = Literal["stop", "length", "context", "cancelled", "paused"]
"""`paused`: a grammar of the constraint waits for another one (`Matcher.waits`)."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose tokens.

    temperature 0 is arg-max. top_p 1, top_k 0 and min_p 0 switch their filters off. Filters apply in the order
    logit bias, temperature, top-k, top-p, min-p. `max_tokens` None means up to the end of the context.
    `stop_token_ids` end the stream; the stop token itself is delivered. `top_logprobs` alternatives (0..20) are taken
    from the log-softmax of the raw logits, before bias and temperature, as is `logprob`.

    `constraint` says which tokens may come next, and which grammars text has to follow (see `engine.constraint`). An
    engine without access to its logits ignores it, but refuses grammars with an EngineError: who asks for a form relies
    on it. `keep_prefix` chooses nothing: that many tokens at the beginning of the prompt are what other prompts will
    begin with too. An engine may keep what it knows of them beside the sequence, so that coming back to them costs
    nothing.

    `drawn` tokens at the end of the prompt are the beginning of this very answer, which was interrupted: with a seed it
    goes on with the tokens that would have followed.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    max_tokens: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int = 0
    keep_prefix: int = 0
    drawn: int = 0
    constraint: TokenAutomaton | None = None

    def __post_init__(self) -> None:
        checks = (
            (self.temperature >= 0.0, "temperature", "at least 0", self.temperature),
            (0.0 < self.top_p <= 1.0, "top_p", "above 0 and at most 1", self.top_p),
            (self.top_k >= 0, "top_k", "at least 0", self.top_k),
            (0.0 <= self.min_p < 1.0, "min_p", "at least 0 and below 1", self.min_p),
            (self.max_tokens is None or self.max_tokens > 0, "max_tokens", "at least 1", self.max_tokens),
            (self.keep_prefix >= 0, "keep_prefix", "at least 0", self.keep_prefix),
            (self.drawn >= 0, "drawn", "at least 0", self.drawn),
            (0 <= self.top_logprobs <= 20, "top_logprobs", "between 0 and 20", self.top_logprobs),
        )
        for ok, name, wanted, got in checks:
            if not ok:
                raise UsageError(f"{name} must be {wanted}, got {got}")


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What to load: a checkpoint's directory, or the file of the built-in model, and how to run it.

    `backend` "auto" takes the fastest one that this machine has. `context` None is all that the model has and memory
    holds. `name` is what people call the model, by default the name of its directory. `dense` None is what the engine
    does by itself: 8 bits on the native CPU engine, as published on the others. `drafts` lets a step of the Triton
    engine run several tokens. `parked_bytes` are for the keys and values of conversations that wait, None as much as
    the context takes and memory allows. With a `url` the model is on a server (`engine.remote`), and of the rest only
    `context` and `name` count.
    """

    checkpoint: Path
    backend: str = "torch"
    dtype: Dtype = "bfloat16"
    device: str = "cpu"
    context: int | None = None
    threads: int | None = None
    name: str = ""
    dense: Dense | None = None
    drafts: bool = True
    parked_bytes: int | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is loaded. Sizes in bytes, context in tokens. `kept_prefixes` are digests (`engine.prefix`) of what is kept
    beside the sequence, the one used last at the end; `parked` are other conversations whose keys and values are kept,
    in `parked_bytes` of at most `parked_limit`. Without `masks` the model is on a server: no prefix is kept, and of
    constraints only JSON schemas are enforced, where it has `schemas`. What a server does not tell is 0.
    """

    model: str
    backend: str
    device: str
    dtype: str
    num_layers: int
    num_experts: int
    vocab_size: int
    context: int
    weight_bytes: int
    kv_bytes_per_token: int
    cached_tokens: int = 0
    kept_prefixes: tuple[str, ...] = ()
    parked: int = 0
    parked_bytes: int = 0
    parked_limit: int = 0
    masks: bool = True
    schemas: bool = True


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """A step of loading; `fraction` is in 0..1. The last one has `done` and carries `info`."""

    stage: str
    fraction: float
    done: bool = False
    info: EngineInfo | None = None


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """`done` of `total` prompt tokens are in the KV cache; `cached` of them were there before."""

    total: int
    done: int
    cached: int


@dataclass(frozen=True, slots=True)
class Token:
    """One sampled token. `logprob` and `top` come from the raw distribution."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Tokens sampled since the last batch: sent at frame rate, never empty."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one generation cost. prompt = cached + prefilled; times in seconds."""

    prompt_tokens: int
    cached_tokens: int
    prefilled_tokens: int
    generated_tokens: int
    prefill_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a generation."""

    reason: FinishReason
    usage: Usage


GenerationEvent = PrefillProgress | TokenBatch | Finished


@dataclass(frozen=True, slots=True)
class ScoredPosition:
    """What the model says after one input token: the next input id, its logprob, and the best alternatives."""

    next: int | None
    logprob: float | None
    top: tuple[tuple[int, float], ...]


class Engine(Protocol):
    """An engine as a front sees it. `EngineClient` (embedded) and remote servers implement it."""

    def load(self) -> AsyncIterator[LoadProgress]:
        """Load the model of the engine's spec. Raises CheckpointError, MemoryPlanError, EngineError."""
        ...

    def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncIterator[GenerationEvent]:
        """Continue `token_ids`. Closing the iterator cancels within one step. Ends with `Finished` unless closed.

        Raises ContextOverflowError before anything runs, EngineDiedError when the worker is gone.
        """
        ...

    def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncIterator[tuple[ScoredPosition, ...]]:
        """Log-probabilities at every position from `start` on, without sampling: batches in order, none of them empty.

        Closing the iterator cancels within one step. Raises as `generate`, and EngineError where the engine cannot.
        """
        ...

    async def cancel(self) -> None:
        """Stop what runs within one step: a generation ends with reason `cancelled`, a scoring with fewer positions."""
        ...

    async def info(self) -> EngineInfo | None:
        """What is loaded, or None."""
        ...

    async def close(self) -> None:
        """End the worker. Idempotent."""
        ...
