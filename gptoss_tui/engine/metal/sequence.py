"""The Metal engine's backend: runs prompts, draws tokens ahead of time, and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress

import mlx.core as mx

from gptoss_tui.engine.constraint import TokenState, Walk
from gptoss_tui.engine.generation import Loaded, SequenceBackend
from gptoss_tui.engine.metal.decode import Decoder
from gptoss_tui.engine.metal.failures import RAISED, in_our_words
from gptoss_tui.engine.metal.kv_cache import KVCache
from gptoss_tui.engine.metal.memory import PREFILL_CHUNK, SCORE_ROWS
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.metal.sampling import Drawn, Sampler, best_ids
from gptoss_tui.engine.types import SamplingParams, ScoredPosition, Token


class MetalBackend(SequenceBackend[KVCache, mx.array]):
    """A `Backend` on MLX. A run returns the states [T, H] of its tokens.

    `chunk` is how many tokens prefill runs at once. `model` may be shared between backends.
    """

    def __init__(
        self,
        model: Transformer,
        decoder: Decoder,
        context: int,
        name: str,
        device: str,
        chunk: int = PREFILL_CHUNK,
    ) -> None:
        self.model = model
        self._decoder = decoder
        chunk = min(chunk, context)
        dtype = str(model.weights.dtype).removeprefix("mlx.core.")
        super().__init__(
            model.config,
            KVCache(model.config, context, chunk, model.weights.dtype),
            chunk,
            Loaded(name, "metal", device, dtype, model.weights.nbytes),
        )

    def close(self) -> None:
        """Free the memory of the weights and the cache. Idempotent; nothing else may be called after it."""
        super().close()
        mx.clear_cache()

    def _computing(self) -> AbstractContextManager[object]:
        return in_our_words(self._recover)

    def _recover(self) -> None:
        """Clean up after a failure, which leaves the arrays of the cache in an unknown state."""
        # Work that was queued after it has failed too. MLX reports that to whoever waits next: not to the next request.
        with suppress(*RAISED):
            mx.synchronize()
        self._cache.reset()

    def _run(self, ids: list[int], cancelled: Callable[[], bool]) -> mx.array | None:
        if cancelled():
            return None
        # The last answer may have left a step running. While that reads the cache, MLX would copy it for a write.
        mx.synchronize()
        self._cache.reserve(len(ids))
        states = self.model.hidden(mx.array(ids), self._cache, cancelled)
        if states is not None:
            self._cache.commit(ids)
        return states

    def _tokens(
        self, after: mx.array, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        """Draw tokens one ahead: while a token is shown, the GPU already runs it and draws the next one.

        That draw is valid if the state of the walk has not changed in the meantime.
        """
        sampler = Sampler(params, self.config.vocab_size)
        state = walk.state if walk else None
        with self._computing():
            step = Step(self._decoder, sampler, after[-1])
            step.draw(state)
            step.begin()
        for left in range(limit - 1, -1, -1):
            if cancelled():
                return
            with self._computing():
                ahead = self._ahead(step.drawn, sampler, state) if left else None
                token = step.drawn.read()
                if ahead is not None:
                    ahead.begin()
            yield token
            if cancelled():
                return  # the last token is not run: whoever continues after it has to run it for its logits anyway
            # The caller asks for another token, so there is a next step.
            assert ahead is not None
            with self._computing():
                self._cache.commit([token.id])
                now = walk.state if walk else None
                if not ahead.is_drawn or now is not state:
                    ahead.draw(now)
                    ahead.begin()
            step, state = ahead, now

    def _ahead(self, drawn: Drawn, sampler: Sampler, state: TokenState | None) -> Step:
        """The step after a token that has not been read yet.

        It must not begin before the token has been read: until then the step before holds the cache, and MLX would copy
        it for a write. The token is not committed, so what this step writes to the cache may be overwritten.
        """
        self._cache.reserve(1)
        step = Step(self._decoder, sampler, self._decoder.hidden(drawn.id, self._cache))
        if state is None or (state.text and state.mask is None):
            step.draw(state)
        return step

    def _scored(self, after: mx.array, following: Sequence[int], top: int) -> Iterator[ScoredPosition]:
        for start in range(0, len(after), SCORE_ROWS):
            logits = self.model.logits(after[start : start + SCORE_ROWS])
            logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
            ids = following[start : start + SCORE_ROWS]
            known = logprobs[mx.arange(len(ids)), mx.array(ids, dtype=mx.uint32)].tolist() if ids else []
            best = best_ids(logits, max(1, min(top, self.config.vocab_size)))
            values = mx.take_along_axis(logprobs, best, axis=-1).tolist()
            for row, (names, found) in enumerate(zip(best.tolist(), values, strict=True)):
                next_id, logprob = (ids[row], known[row]) if row < len(ids) else (None, None)
                yield ScoredPosition(next_id, logprob, tuple(zip(names, found, strict=True))[:top])


class Step:
    """The state x [H] after one token, and the token drawn from it. It can be drawn again, for another state."""

    def __init__(self, decoder: Decoder, sampler: Sampler, x: mx.array) -> None:
        self.x = x
        self._decoder, self._sampler = decoder, sampler
        self._key = sampler.next_key()
        self._logits: mx.array | None = None
        self._drawn: Drawn | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether a token has been drawn."""
        return self._drawn is not None

    @property
    def drawn(self) -> Drawn:
        """The latest draw."""
        assert self._drawn is not None
        return self._drawn

    def begin(self) -> None:
        """Have the GPU begin to compute the draw, or else the state."""
        mx.async_eval(self._drawn.arrays() if self._drawn is not None else self.x)

    def draw(self, state: TokenState | None) -> None:
        """Draw a token among those that `state` allows."""
        sampler, allowed = self._sampler, self._sampler.allowed(state)
        if self._logits is None:
            coldness = sampler.coldness if sampler.is_plain else 0.0
            self._logits, id, logprob = self._decoder.head(self.x, allowed, self._key, mx.array([coldness]))
            self._drawn = Drawn(id, logprob)
            if not sampler.is_plain:
                self._drawn = sampler.draw(self._logits, allowed, self._key)
        else:
            self._drawn = sampler.draw(self._logits, allowed, self._key)
