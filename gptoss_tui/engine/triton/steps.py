"""Decode steps as the host drives them: captured once, replayed, and read a little later than they run.

While the host waits for a token, the device is already at the next one: the chosen id stays on the device and is the
input of the next step. The host learns of it through pinned memory. So a request that ends (a stop token, a cancel) has
run up to `AHEAD` steps too many; they wrote keys behind the committed tokens, where the next step overwrites them.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gptoss_tui.engine.constraint import TokenAutomaton, Walk
from gptoss_tui.engine.sampling import unused_ids
from gptoss_tui.engine.triton.decode import MAX_EDGES, MAX_SPLITS, MAX_STATES, RING, Decoder
from gptoss_tui.engine.types import SamplingParams, Token
from gptoss_tui.errors import EngineError

AHEAD = 2
"""Steps in flight. One would let the device wait for the host's launch; more only run further behind a stop."""


class Steps:
    """The decode steps of a model on its device."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._on_gpu = decoder.weights.device.type == "cuda"
        self._graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self._host_tokens = torch.zeros(RING, dtype=torch.int64, pin_memory=self._on_gpu)
        self._host_logprobs = torch.zeros(RING, dtype=torch.float32, pin_memory=self._on_gpu)

    @staticmethod
    def can_draw(params: SamplingParams) -> bool:
        """Whether the device can choose alone: no filter that needs the order of the logits, room for the automaton."""
        filtered = params.top_p < 1.0 or params.top_k > 0 or params.min_p > 0.0
        automaton = params.constraint
        fits = automaton is None or (
            len(automaton.states) <= MAX_STATES and sum(len(s.following) for s in automaton.states) <= MAX_EDGES
        )
        return not filtered and params.top_logprobs == 0 and fits

    def drawn(
        self, residual: Tensor, params: SamplingParams, limit: int, cancelled: Callable[[], bool]
    ) -> Iterator[Token]:
        """Up to `limit` tokens after the residual [H] of the last cached one. The caller commits them.

        Raises EngineError when the logits are not numbers.
        """
        cache = self.decoder.cache
        start = cache.length
        with torch.inference_mode():
            self._prepare(residual, params, start)
            self.decoder.logits()
            self.decoder.choose()
            events = deque([self._fetch(0)])
        for count in range(limit):
            if cancelled():
                return
            with torch.inference_mode():
                while len(events) < AHEAD and count + len(events) < limit:
                    at = start + count + len(events)  # keys written by this step: of the token before it
                    cache.reserve(at - cache.length)
                    self._step(at, choose=True)
                    events.append(self._fetch(count + len(events)))
            yield self._take(events.popleft(), count)

    def first_logits(self, residual: Tensor) -> Tensor:
        """Logits float32 [V] after the residual [H] of the last cached token."""
        self.decoder.state.x.copy_(residual)
        self.decoder.logits()
        return self.decoder.state.logits

    def logits_of(self, token: Token, position: int) -> Tensor:
        """Logits float32 [V] after `token`, which stands at `position`."""
        state, cache = self.decoder.state, self.decoder.cache
        cache.reserve(position + 1 - cache.length)
        state.position.fill_(position)
        state.x.copy_(self.decoder.weights.embedding[token.id])
        self._step(position + 1, choose=False)
        return state.logits

    def _prepare(self, residual: Tensor, params: SamplingParams, length: int) -> None:
        """Sampling as `params` say; the next choice is of the token at position `length`."""
        state = self.decoder.state
        state.x.copy_(residual)
        state.position.fill_(length - 1)
        state.step.zero_()
        seed = torch.seed() if params.seed is None else params.seed
        state.seed.fill_(seed & 0x7FFF_FFFF_FFFF_FFFF)
        state.temperature.fill_(params.temperature)
        state.bias.zero_()
        state.bias[unused_ids(state.bias.shape[0], state.bias.device)] = -math.inf
        self._upload(params.constraint)
        for token, bias in params.logit_bias.items():
            if not 0 <= token < state.bias.shape[0]:
                raise EngineError(f"logit_bias names token {token}; the vocabulary has {state.bias.shape[0]}")
            state.bias[token] += bias

    def _upload(self, automaton: TokenAutomaton | None) -> None:
        """Put the automaton where the choice follows it."""
        state = self.decoder.state
        state.at.fill_(-1)
        if automaton is None or Walk(automaton).state is None:
            return
        edges = [edge for each in automaton.states for edge in each.following.items()]
        starts = list(itertools.accumulate((len(each.following) for each in automaton.states), initial=0))
        for target, values in (
            (state.starts, starts),
            (state.text, [each.text for each in automaton.states]),
            (state.ids, [token for token, _ in edges]),
            (state.following, [behind for _, behind in edges]),
        ):
            target[: len(values)] = torch.tensor(values, dtype=target.dtype, device=target.device)
        state.at.fill_(automaton.start)

    def _step(self, keys: int, *, choose: bool) -> None:
        """One step whose queries see `keys` keys."""
        splits = splits_for(keys, self.decoder.blocks.keys)
        if not self._on_gpu:
            self._launch(splits, choose)
            return
        if (graph := self._graphs.get((splits, choose))) is None:
            graph = self._graphs[splits, choose] = self._capture(splits, choose)
        graph.replay()

    def _launch(self, splits: int, choose: bool) -> None:
        self.decoder.layers(splits)
        self.decoder.logits()
        if choose:
            self.decoder.choose()

    def _capture(self, splits: int, choose: bool) -> torch.cuda.CUDAGraph:
        """The graph of a step. Kernels are compiled by running them once, which must leave no trace."""
        state = self.decoder.state
        kept = (state.x, state.position, state.step, state.tokens, state.logprobs, state.token, state.at)
        before = [tensor.clone() for tensor in kept]
        self._launch(splits, choose)
        for tensor, value in zip(kept, before, strict=True):
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._launch(splits, choose)
        return graph

    def _fetch(self, count: int) -> torch.cuda.Event | None:
        """Begin to copy choice `count` to the host; the event tells when it is there."""
        slot = slice(count % RING, count % RING + 1)
        state = self.decoder.state
        self._host_tokens[slot].copy_(state.tokens[slot], non_blocking=True)
        self._host_logprobs[slot].copy_(state.logprobs[slot], non_blocking=True)
        if not self._on_gpu:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _take(self, event: torch.cuda.Event | None, count: int) -> Token:
        if event is not None:
            event.synchronize()
        logprob = float(self._host_logprobs[count % RING])
        if not math.isfinite(logprob):
            raise EngineError("The model computed something that is not a number", hint="the checkpoint may be damaged")
        return Token(int(self._host_tokens[count % RING]), logprob)


def splits_for(keys: int, block: int) -> int:
    """Programs that share the keys of a head: a power of two, about one for each block, so that few graphs do."""
    blocks = -(-keys // block)
    return min(MAX_SPLITS, 1 << (blocks - 1).bit_length())
