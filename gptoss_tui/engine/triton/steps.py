"""Decode steps from the host's side: captured once, replayed, and read a little later than they run.

While the host waits for a token, the device already works on the next one: the chosen id stays on the device as the
input of the next step, and the host reads it through pinned memory. A request that ends (by a stop token or a cancel)
has therefore run up to `AHEAD` steps too many. These wrote keys after the committed tokens, where the next step
overwrites them.

With drafts, a step may run several tokens and keep those that it would have drawn one by one. The noise and the logits
of a token depend on its position alone, so drafts change the speed and nothing else. The result of a step then decides
how many tokens the next one should run, and as long as drafts are found it is worth waiting for that result.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.constraint import TokenAutomaton, Walk
from gptoss_tui.engine.failures import not_finite
from gptoss_tui.engine.seeds import STRIDE
from gptoss_tui.engine.torch.sampling import add_bias, unused_ids
from gptoss_tui.engine.triton.decode import MAX_EDGES, MAX_SPLITS, MAX_STATES, MAX_TOKENS, RING, Decoder
from gptoss_tui.engine.types import LOWEST_TEMPERATURE, SamplingParams, Token

AHEAD = 2
"""Steps in flight. With one, the device waits for the host to launch; more than two only run further past a stop."""

SLOTS = AHEAD + 1
"""Places for the results of steps: those in flight, and the one that the caller is reading."""

IDLE = 16
"""After so many steps without drafts, none are expected."""

LONGEST_PAUSE = 32
"""The most steps to run without drafts after drafts have been wrong repeatedly."""


@dataclass(slots=True)
class _Fetch:
    """A step in flight. Its tokens, `most` at most, are in the host's memory at `slot` once `event` has occurred."""

    slot: int
    most: int
    event: torch.cuda.Event | None


class Steps:
    """The decode steps of a model on its device. With `drafts` a step may run several tokens."""

    def __init__(self, decoder: Decoder, *, drafts: bool = False) -> None:
        self.decoder = decoder
        self.drafts = drafts
        self._on_gpu = decoder.weights.device.type == "cuda"
        self._graphs: dict[tuple[int, int, bool], torch.cuda.CUDAGraph] = {}
        # For each step in flight: how many tokens there are in total, and how many inputs the next step has.
        self._host_counts = torch.zeros((SLOTS, 2), dtype=torch.int64, pin_memory=self._on_gpu)
        self._host_tokens = torch.zeros((SLOTS, RING), dtype=torch.int64, pin_memory=self._on_gpu)
        self._host_logprobs = torch.zeros((SLOTS, RING), dtype=torch.float32, pin_memory=self._on_gpu)

    @staticmethod
    def can_draw(params: SamplingParams) -> bool:
        """Whether the device can choose tokens without the host.

        It can if no filter needs sorted logits, no alternatives are asked for, and the automaton fits.
        """
        filtered = params.top_p < 1.0 or params.top_k > 0 or params.min_p > 0.0
        automaton = params.constraint
        fits = automaton is None or (
            len(automaton.states) <= MAX_STATES and sum(len(s.following) for s in automaton.states) <= MAX_EDGES
        )
        return not filtered and params.top_logprobs == 0 and fits

    def capture_all(self) -> None:
        """Capture the steps for all lengths now, so that no token waits for it.

        The cache must have room for a step at position 0.
        """
        self.decoder.state.position.zero_()
        longest = splits_for(self.decoder.cache.context, self.decoder.blocks.keys)
        several = (2, 4, MAX_TOKENS) if self.drafts else ()
        for tokens, choose in ((1, True), (1, False), *((tokens, True) for tokens in several)):
            for splits in (1 << n for n in range(longest.bit_length())):
                self._graphs[splits, tokens, choose] = self._capture(splits, tokens, choose=choose)

    def drawn(
        self, residual: Tensor, params: SamplingParams, limit: int, cancelled: Callable[[], bool]
    ) -> Iterator[Token]:
        """Yield up to `limit` tokens after the last cached one, whose residual [H] is given. The caller commits them.

        Raises EngineError when the logits are not finite.
        """
        start = self.decoder.cache.length
        with torch.inference_mode():
            self._prepare(residual, params, start)
            self._first_logits()
            self._choose(1)
            flying = deque([self._fetch(0, 1)])
            known, launched = 0, 1
            pace = Pace(MAX_TOKENS if self.drafts else 1)
            launched += self._run_ahead(flying, launched, pace, start, limit)
        while known < limit and not cancelled():
            step = flying.popleft()
            if step.event is not None:
                step.event.synchronize()
            total, inputs = self._host_counts[step.slot].tolist()
            pace.saw(step.most, total - known, inputs)
            # The next step runs while the caller handles the tokens of this one.
            with torch.inference_mode():
                launched += self._run_ahead(flying, launched, pace, start + total, limit - total)
            for count in range(known, total):
                if count > known and cancelled():
                    return
                yield self._token(step.slot, count)
            known = total

    def _run_ahead(self, flying: deque[_Fetch], launched: int, pace: Pace, length: int, room: int) -> int:
        """Launch steps until enough are in flight; returns how many. `launched` counts those of the request so far."""
        before = len(flying)
        while len(flying) < pace.ahead and (tokens := self._next_tokens(flying, pace, length, room)):
            self._step(length + sum(step.most for step in flying), tokens, choose=True)
            flying.append(self._fetch((launched + len(flying) - before) % SLOTS, tokens))
        return len(flying) - before

    def _next_tokens(self, flying: Sequence[_Fetch], pace: Pace, length: int, room: int) -> int:
        """How many tokens the next step should run; 0 if it has to wait for the results of the steps in flight.

        `length` tokens are known, and `room` more are wanted. Each step in flight yields between one token and all that
        it runs. The keys must be split into as many parts for all tokens of a step as for each of them alone. So a
        step ends where that number changes, and is not launched while it is unknown on which side it begins.
        """
        most = sum(step.most for step in flying)
        if most >= room:
            return 0
        block = self.decoder.blocks.keys
        parts = splits_for(length + most, block)
        if splits_for(length + len(flying), block) != parts:
            return 0
        tokens = pace.tokens
        while tokens > room - most or splits_for(length + most + tokens - 1, block) != parts:
            tokens //= 2
        self.decoder.cache.reserve(length + most + tokens - self.decoder.cache.length)
        return tokens

    def first_logits(self, residual: Tensor) -> Tensor:
        """Logits float32 [V] after the residual [H] of the last cached token."""
        self.decoder.state.x.copy_(residual)
        self._first_logits()
        return self.decoder.state.logits

    def _first_logits(self) -> None:
        """Compute the logits of the residual in `state.x`, which prefill computed."""
        self.decoder.scale(len(self.decoder.weights.layers))
        self.decoder.logits()

    def logits_of(self, token: Token, position: int) -> Tensor:
        """Logits float32 [V] after `token`, which is at `position`."""
        state, cache = self.decoder.state, self.decoder.cache
        cache.reserve(position + 1 - cache.length)
        state.position.fill_(position)
        state.x.copy_(self.decoder.weights.embedding[token.id])
        self._step(position + 1, 1, choose=False)
        return state.logits

    def _prepare(self, residual: Tensor, params: SamplingParams, length: int) -> None:
        """Set up sampling as `params` ask; the next token to be chosen is the one at position `length`."""
        state = self.decoder.state
        state.xs.zero_()
        state.x.copy_(residual)
        state.count.fill_(1)
        if self.drafts:
            state.history[:length] = torch.tensor(self.decoder.cache.tokens, dtype=torch.int32)
        state.position.fill_(length - 1)
        state.step.zero_()
        seed = torch.seed() if params.seed is None else params.seed
        state.seed.fill_(_wrapped((seed & 0x7FFF_FFFF_FFFF_FFFF) + params.drawn * STRIDE))
        state.temperature.fill_(params.temperature and max(params.temperature, LOWEST_TEMPERATURE))
        state.bias.zero_()
        state.bias[unused_ids(state.bias.shape[0], state.bias.device)] = -math.inf
        self._upload(params.constraint)
        add_bias(state.bias, params.logit_bias)

    def _upload(self, automaton: TokenAutomaton | None) -> None:
        """Copy the automaton to the device, where it restricts the choice."""
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

    def _step(self, keys: int, tokens: int, *, choose: bool) -> None:
        """Run one step of `tokens` tokens, the first of which sees `keys` keys."""
        splits = splits_for(keys, self.decoder.blocks.keys)
        if not self._on_gpu:
            self._launch(splits, tokens, choose=choose)
            return
        key = splits, tokens, choose
        if (graph := self._graphs.get(key)) is None:
            graph = self._graphs[key] = self._capture(splits, tokens, choose=choose)
        graph.replay()

    def _launch(self, splits: int, tokens: int, *, choose: bool) -> None:
        self.decoder.layers(splits, tokens)
        self.decoder.logits(tokens)
        if choose:
            self._choose(tokens)

    def _choose(self, tokens: int) -> None:
        self.decoder.choose(tokens)
        if self.drafts:
            self.decoder.draft()

    def _capture(self, splits: int, tokens: int, *, choose: bool) -> torch.cuda.CUDAGraph:
        """Capture a step as a graph. Running it once first compiles its kernels; the state is restored afterwards."""
        state = self.decoder.state
        kept = (
            *(state.xs, state.position, state.step, state.tokens, state.logprobs, state.token, state.at),
            *(state.drafts, state.count, state.history),
        )
        before = [tensor.clone() for tensor in kept]
        self._launch(splits, tokens, choose=choose)
        for tensor, value in zip(kept, before, strict=True):
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._launch(splits, tokens, choose=choose)
        return graph

    def _fetch(self, slot: int, most: int) -> _Fetch:
        """Begin to copy the results of the last step to the host."""
        state = self.decoder.state
        self._host_counts[slot, :1].copy_(state.step, non_blocking=True)
        self._host_counts[slot, 1:].copy_(state.count, non_blocking=True)
        self._host_tokens[slot].copy_(state.tokens, non_blocking=True)
        self._host_logprobs[slot].copy_(state.logprobs, non_blocking=True)
        if not self._on_gpu:
            return _Fetch(slot, most, None)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return _Fetch(slot, most, event)

    def _token(self, slot: int, count: int) -> Token:
        logprob = float(self._host_logprobs[slot, count % RING])
        if not math.isfinite(logprob):
            raise not_finite()
        return Token(int(self._host_tokens[slot, count % RING]), logprob)


class Pace:
    """Decides how many tokens the next step should run, by how well recent drafts did."""

    def __init__(self, most: int) -> None:
        self.tokens = 1
        self._most = most
        self._pause = self._rest = 0
        self._idle = IDLE

    @property
    def ahead(self) -> int:
        """How many steps should be in flight."""
        return AHEAD if self._rest or self._idle >= IDLE else 1

    def saw(self, ran: int, kept: int, inputs: int) -> None:
        """Take note that a step of `ran` tokens kept `kept`, and that the next one has `inputs`, drafts included."""
        if ran > 1 and kept == 1:  # wrong drafts cost time: wait before the next try, and longer if that fails too
            self._pause = min(LONGEST_PAUSE, max(2, 2 * self._pause))
            self._rest = self._pause
        elif ran > 1:
            self._pause = self._rest = 0
        elif self._rest:
            self._rest -= 1
        if self._rest or inputs == 1:
            self.tokens = 1
        elif kept == ran:
            self.tokens = self._most
        else:
            self.tokens = min(self._most, max(2, 1 << (kept - 1).bit_length()))
        self._idle = 0 if self.tokens > 1 else self._idle + 1


def _wrapped(value: int) -> int:
    """`value` wrapped around as in int64 arithmetic."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def splits_for(keys: int, block: int) -> int:
    """How many programs share a head's keys: about one per block, as a power of two, so that a few graphs suffice."""
    blocks = -(-keys // block)
    return min(MAX_SPLITS, 1 << (blocks - 1).bit_length())
