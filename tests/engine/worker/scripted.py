"""A backend without a model: what it does is spelled in the name of its checkpoint directory.

Loaded as `python:tests.engine.worker.scripted` in a real worker process. Token `n` is followed by `n + 1`.
Checkpoint names: `slow-load`, `no-checkpoint`, `no-memory`, `import-error`; anything else loads at once.
Prompts: the first id picks the behaviour, see `generate`; scoring one that begins with `SLOW` ends when cancelled.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    Finished,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    Usage,
)
from gptoss_tui.errors import CheckpointError, ContextOverflowError, MemoryPlanError

VOCAB_SIZE = 201_088
COUNT, KILL, RAISE, OUT_OF_MEMORY, OVERFLOW, SLOW, GARBAGE = 1, 2, 3, 4, 5, 6, 7


class ScriptedBackend:
    """Counts."""

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._cached = 0

    def info(self) -> EngineInfo:
        return EngineInfo(
            model=self._spec.checkpoint.name,
            backend=self._spec.backend,
            device="cpu",
            dtype=self._spec.dtype,
            num_layers=1,
            num_experts=1,
            vocab_size=VOCAB_SIZE,
            context=self._spec.context or 100,
            weight_bytes=1000,
            cached_tokens=self._cached,
        )

    def generate(
        self, token_ids: Sequence[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        if token_ids[0] == OVERFLOW:
            raise ContextOverflowError("The prompt of 1 tokens is too long", hint="shorten it")
        yield PrefillProgress(len(token_ids), len(token_ids), 0)
        made = 0
        for made in count():
            if cancelled() or made == (params.max_tokens or 10**9):
                break
            yield Token(token_ids[-1] + made + 1, -0.5, ((7, -0.5),) * params.top_logprobs)
            if token_ids[0] == SLOW:
                time.sleep(0.002)
            elif made == 2:
                _misbehave(token_ids[0])
        self._cached = len(token_ids) + made
        reason = "cancelled" if cancelled() else "length"
        yield Finished(reason, Usage(len(token_ids), 0, len(token_ids), made, 0.1, 0.2))

    def score(
        self, token_ids: Sequence[int], top: int, cancelled: Callable[[], bool] = lambda: False, start: int = 0
    ) -> Iterator[ScoredPosition]:
        while token_ids[0] == SLOW and not cancelled():
            time.sleep(0.002)
        for i, n in list(zip(token_ids, [*token_ids[1:], None], strict=True))[start:]:
            if cancelled():
                return
            yield ScoredPosition(n, None if n is None else float("-inf") if n == 0 else -1.0, ((i, -0.1),) * top)

    def close(self) -> None:
        print("closed")


def _misbehave(how: int) -> None:
    if how == KILL:
        print("\x1b[31mlast words\x1b]0;title\x07", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)
    if how == GARBAGE:
        os.write(int(sys.argv[1]), b"\xff" * 100)
    if how == RAISE:
        raise ValueError("broken kernel")
    if how == OUT_OF_MEMORY:
        raise MemoryError


def load_backend(spec: EngineSpec, report: ReportProgress) -> ScriptedBackend:
    report(LoadProgress("reading", 0.5, done=True))
    match spec.checkpoint.name:
        case "slow-load":
            time.sleep(60)
        case "no-checkpoint":
            raise CheckpointError("config.json is missing", hint="download it")
        case "no-memory":
            raise MemoryPlanError("40 GB do not fit in 8 GB", hint="a smaller model")
        case "import-error":
            raise ImportError("No module named 'torch'")
    return ScriptedBackend(spec)
