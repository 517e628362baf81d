"""Plans how much memory a model needs, before anything is allocated.

All engines need the same for the weights; what a context needs depends on the engine (`Needs`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from gptoss_tui.engine.checkpoint.tensors import tensor_table
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.planning.machine import available_memory
from gptoss_tui.engine.planning.needs import Needs
from gptoss_tui.engine.torch.memory import TORCH_NEEDS
from gptoss_tui.engine.types import Dtype
from gptoss_tui.errors import MemoryPlanError
from gptoss_tui.units import format_bytes


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes that a model needs with a context of `context` tokens, and the bytes `available` (None: unknown).

    `largest_context` is the longest context that fits: 0 if none does, None if the available memory is unknown. In
    addition to the total, `parked` bytes are for waiting conversations, and `parked_on_host` bytes of host memory if
    the engine's device has its own.
    """

    context: int
    weights: int
    kv_cache: int
    scratch: int
    available: int | None
    largest_context: int | None
    parked: int = 0
    parked_on_host: int = 0

    @property
    def total(self) -> int:
        """Bytes needed when the context is full."""
        return self.weights + self.kv_cache + self.scratch

    @property
    def fits(self) -> bool:
        """Whether the total and the parked bytes are available. True if that is unknown."""
        return self.available is None or self.total + self.parked <= self.available


def plan(
    config: ModelConfig,
    weight_bytes: int,
    context: int | None,
    dtype: Dtype = "bfloat16",
    *,
    available: int | None = None,
    needs: Needs | None = None,
    parked: int | None = None,
    host: int | None = None,
) -> MemoryPlan:
    """Plan the memory of a model whose tensors take `weight_bytes` on disk, for `context` tokens in `dtype`.

    `context` None selects the model's longest context that fits, leaving room for waiting conversations if they share
    its memory; if none fits or the memory is unknown, the model's full context. `available` is the memory of the
    device, by default `available_memory()` of this machine unless the engine's device has its own; `needs` are the
    engine's, by default the torch engine's.

    `parked` bytes are for waiting conversations: by default as much as the KV cache takes, but at most half of what is
    left. If the engine's device has its own memory, what does not fit there goes to at most half of the `host` bytes
    available on the machine.
    """
    needs = needs or TORCH_NEEDS
    if available is None and not needs.own_memory:
        available = available_memory()
    sizes = _Sizes(config, weight_bytes + _widened_bytes(config, dtype), dtype, needs)
    demanded = 0 if parked is None or needs.own_memory else parked
    largest = None if available is None else sizes.longest(sizes.total, available - demanded)
    beside = 0
    if context is None:
        context = largest or config.max_context
        if available is not None and largest and parked is None and not needs.own_memory:
            context = sizes.longest(sizes.shared, available) or largest
            beside = min(sizes.beside(context), available - sizes.total(context))
    wanted = sizes.kv_cache(context) if parked is None else parked
    left = wanted if available is None else _half(available - sizes.total(context))
    here = demanded or min(wanted, max(beside, left))
    on_host = min(wanted - here, _half(host or 0)) if needs.own_memory else 0
    kv_cache, scratch = sizes.kv_cache(context), sizes.scratch(context)
    return MemoryPlan(context, sizes.weights, kv_cache, scratch, available, largest, here, on_host)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Bytes that a model takes, as functions of the context in tokens."""

    config: ModelConfig
    weights: int
    dtype: Dtype
    needs: Needs

    def kv_cache(self, tokens: int) -> int:
        return self.needs.kv_bytes(self.config, tokens, self.dtype)

    def scratch(self, tokens: int) -> int:
        return self.needs.scratch_bytes(self.config, tokens, self.dtype)

    def total(self, tokens: int) -> int:
        return self.weights + self.kv_cache(tokens) + self.scratch(tokens)

    def beside(self, tokens: int) -> int:
        """What half as many additional tokens take: the waiting conversations beside a context chosen by default."""
        return (self.kv_cache(2 * tokens) - self.kv_cache(tokens)) // 2

    def shared(self, tokens: int) -> int:
        return self.total(tokens) + self.beside(tokens)

    def longest(self, size: Callable[[int], int], available: int) -> int:
        """The model's longest context whose `size` is available, or 0."""
        return bisect_right(range(1, self.config.max_context + 1), available, key=size)


def _half(spare: int) -> int:
    """The share of unclaimed memory that waiting conversations may take."""
    return max(0, spare) // 2


def check(plan: MemoryPlan) -> None:
    """Raise MemoryPlanError if the plan needs more than is available; the hint says what would fit."""
    if plan.fits or plan.available is None:
        return
    cache = f"KV cache for {plan.context} tokens {format_bytes(plan.kv_cache)}"
    parts = f"weights {format_bytes(plan.weights)}, {cache}, scratch {format_bytes(plan.scratch)}"
    if plan.parked:
        parts += f", waiting {format_bytes(plan.parked)}"
    message = (
        f"The model needs {format_bytes(plan.total + plan.parked)} of memory ({parts}), "
        f"{format_bytes(plan.available)} are available; nothing was loaded"
    )
    if plan.largest_context:
        raise MemoryPlanError(message, hint=f"this much context fits: --context {plan.largest_context}")
    raise MemoryPlanError(message, hint="choose a smaller model (`gptoss-tui models list`) or close other programs")


def _widened_bytes(config: ModelConfig, dtype: Dtype) -> int:
    """What the weights take beyond their size on disk: in float32, everything unpacked except the embedding."""
    if dtype == "bfloat16":
        return 0
    table = tensor_table(config)
    return sum(spec.nbytes for name, spec in table.items() if spec.dtype == "BF16" and name != "embedding.weight")
