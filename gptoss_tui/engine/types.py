"""The engine contract: what a front end can ask of any engine, and what it gets back.

Pure data, importable without torch. Everything here crosses the process boundary as plain values.
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
"""Prefix of a model name that asks for random weights, as in `random:gpt-oss-20b`. Such a name is not a path."""

LOWEST_TEMPERATURE = 1e-20
"""Below this, temperatures make no difference: float32 logits that differ at all differ by more."""

FinishReason = Literal["stop", "length", "context", "cancelled", "paused"]
"""`paused`: a grammar of the constraint waits for another grammar (`Matcher.waits`)."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose tokens.

    temperature 0 means arg-max. top_p 1, top_k 0 and min_p 0 turn their filters off. Filters apply in the order
    logit bias, temperature, top-k, top-p, min-p. `max_tokens` None means up to the end of the context.
    `stop_token_ids` end the stream; the stop token itself is delivered. `logprob` and the `top_logprobs` alternatives
    (0..20) come from the log-softmax of the raw logits, before bias and temperature.

    `constraint` says which tokens may come next, and which grammars the text must follow (see `engine.constraint`). An
    engine without access to its logits ignores the former, but raises EngineError for grammars that it cannot enforce,
    because callers rely on the form they ask for.

    `keep_prefix` does not affect sampling: it is the number of tokens at the beginning of the prompt that other prompts
    will share. An engine may keep their keys and values beside the sequence, so that returning to them is free.

    `drawn` is the number of tokens at the end of the prompt that already belong to this answer, which was interrupted:
    with a seed, sampling continues with the tokens that would have followed.
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
    """What to load and how to run it. `checkpoint` is a checkpoint's directory, or the file of the built-in model.

    `backend` "auto" selects the fastest backend of this machine. `context` None means as much as the model supports
    and memory allows. `name` is the display name, by default the name of the directory. `dense` None leaves the choice
    to the engine: 8 bits on the native CPU engine, as published on the others. `drafts` lets the Triton engine run
    several tokens per step. `parked_bytes` is the memory for keys and values of waiting conversations; None means as
    much as the context takes, or what memory allows. With a `url` the model is on a server (`engine.remote`), and only
    `context` and `name` of the rest apply.
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
    """What is loaded. Sizes in bytes, context in tokens.

    `kept_prefixes` are digests (`prefix_digest`) of the prefixes kept beside the sequence, most recently used last.
    `parked` is the number of other conversations whose keys and values are kept, in `parked_bytes` of at most
    `parked_limit`. `masks` is False when the model is on a server: then no prefix is kept, and of all constraints only
    JSON schemas are enforced, if `schemas` is True. Values that a server does not report are 0.
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
    cached_tokens: int = 0
    kept_prefixes: tuple[str, ...] = ()
    parked: int = 0
    parked_bytes: int = 0
    parked_limit: int = 0
    masks: bool = True
    schemas: bool = True


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """A step of loading; `fraction` is in 0..1. The last step has `done` set and carries `info`."""

    stage: str
    fraction: float
    done: bool = False
    info: EngineInfo | None = None


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """`done` of `total` prompt tokens are in the KV cache; `cached` of them were already there."""

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
    """The cost of one generation. prompt_tokens = cached_tokens + prefilled_tokens; times in seconds."""

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
    """The prediction after one input token: the next input id with its logprob, and the best alternatives."""

    next: int | None
    logprob: float | None
    top: tuple[tuple[int, float], ...]


class Engine(Protocol):
    """An engine as seen by a front end. Implemented by `EngineClient` (embedded) and by remote servers' clients."""

    def load(self) -> AsyncIterator[LoadProgress]:
        """Load the model of the engine's spec. Raises CheckpointError, MemoryPlanError, EngineError."""
        ...

    def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncIterator[GenerationEvent]:
        """Continue `token_ids`. Closing the iterator cancels within one step. Ends with `Finished` unless closed.

        Raises ContextOverflowError before anything runs, and EngineDiedError when the worker is gone.
        """
        ...

    def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncIterator[tuple[ScoredPosition, ...]]:
        """Log-probabilities at every position from `start` on, without sampling: non-empty batches, in order.

        Closing the iterator cancels within one step. Raises like `generate`, or EngineError if the engine cannot score.
        """
        ...

    async def cancel(self) -> None:
        """Stop the current request within one step: a generation ends with reason `cancelled`, a scoring ends early."""
        ...

    async def info(self) -> EngineInfo | None:
        """Return what is loaded, or None."""
        ...

    async def close(self) -> None:
        """Stop the worker. Idempotent."""
        ...
