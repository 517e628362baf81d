"""Checks, before the first request, which of our kernels give the same results as MLX on this device.

Each kernel is run on random numbers with the model's weights and compared with its twin in MLX's operations. By then,
another process has tried it on this machine (`verdicts.py`). A kernel that does not compile, or gives other results, is
not used: MLX's operations take its place, and the device's description says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import mlx.core as mx

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.decode import Decoder
from gptoss_tui.engine.metal.device import on_gpu
from gptoss_tui.engine.metal.kernels import NAMES
from gptoss_tui.engine.metal.kernels.source import Launcher, launch_metal
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.metal.sampling import gumbel
from gptoss_tui.engine.metal.steps import Activated, Fused, Steps, Twins, can_fuse, routed
from gptoss_tui.errors import UsageError

KERNELS_VARIABLE = "GPTOSS_TUI_METAL_KERNELS"
"""Environment variable with the kernels that may be used: names separated by commas, or `off`. By default all."""

_NOTHING: Mapping[str, str] = MappingProxyType({})

TOLERANCE = {mx.bfloat16: 1e-2, mx.float32: 1e-4}
"""Relative to the norm of a result. Kernels round a product once, and add up sums in another order."""

ROW_TOLERANCE = {mx.bfloat16: 4e-2, mx.float32: 1e-3}
"""For single values, relative to the value or, if that is larger, to the root mean square of all values: one wrong row
among thousands hardly changes the norm. A bfloat16 that is rounded the other way is off by 0.8 %, before rotation."""


def may_fuse(config: ModelConfig) -> bool:
    """Whether kernels are wanted, support models of this shape, and have a GPU to run on.

    Raises UsageError if the environment names an unknown kernel.
    """
    return bool(wanted_kernels()) and can_fuse(config) and on_gpu()


def choose_steps(model: Transformer, launch: Launcher = launch_metal, refused: Mapping[str, str] = _NOTHING) -> Decoder:
    """A decoder with all kernels that are wanted, right, and not already `refused` (by the name of their step).

    Raises UsageError if the environment names an unknown kernel.
    """
    kernels, twins, right = Fused(model, launch), Twins(model), set[str]()
    for name in wanted_kernels():
        if (reason := refused.get(name) or refusal(name, kernels, twins, model)) is None:
            right.add(name)
        else:
            print(f"The Metal kernel {name} is not used: {reason}", file=sys.stderr)
    return Decoder(model, kernels, frozenset(right))


def describe(decoder: Decoder) -> str:
    """A short description of which steps use MLX's own operations; empty if none does."""
    others = [name for name in NAMES if name not in decoder.fused]
    if len(others) == len(NAMES):
        return "MLX's operations only"
    return f"MLX's own {', '.join(others)}" if others else ""


def wanted_kernels() -> list[str]:
    """The kernels that the environment allows. Raises UsageError if it names an unknown one."""
    named = os.environ.get(KERNELS_VARIABLE)
    if named is None:
        return list(NAMES)
    names = [] if named == "off" else named.split(",")
    for name in names:
        if name not in NAMES:
            raise UsageError(
                f"{KERNELS_VARIABLE} names a kernel {name!r}", hint=f"there are: {', '.join(NAMES)}; or off"
            )
    return names


def refusal(name: str, kernels: Steps, twins: Steps, model: Transformer) -> str | None:
    """Why the kernels of a step must not be used: they fail, or their results differ from the twin's. Else None."""
    try:
        ours, theirs = results(name, kernels, model), results(name, twins, model, exact=True)
        for (part, got), (_, wanted) in zip(ours, theirs, strict=True):
            if difference := compare(got, wanted, model.weights.dtype):
                return f"{part}: {difference}"
        return _wrong_draw(kernels, model) if name == "head" else None
    except Exception as error:  # whatever goes wrong in MLX, its compiler or the device: the twin can take over
        return " ".join(str(error).split()) or type(error).__name__


def compare(got: mx.array, wanted: mx.array, dtype: mx.Dtype) -> str | None:
    """A description of how a result in `dtype` differs by more than rounding; None if it does not."""
    ours, theirs = (array.astype(mx.float32).flatten() for array in (got, wanted))
    size = mx.sqrt(mx.mean(theirs * theirs))
    rows = mx.abs(ours - theirs) / mx.maximum(mx.abs(theirs), size)
    norm = float((mx.linalg.norm(ours - theirs) / mx.linalg.norm(theirs)).item())
    worst = int(mx.argmax(mx.where(mx.isnan(rows), mx.inf, rows)).item())
    # `not <` so that NaN is a difference too.
    if not float(rows[worst].item()) < ROW_TOLERANCE[dtype]:
        return f"value {worst} of {len(ours)} is {ours[worst].item():.4g} instead of {theirs[worst].item():.4g}"
    return None if norm < TOLERANCE[dtype] else f"differs by {norm:.2g} of its norm"


def results(name: str, steps: Steps, model: Transformer, *, exact: bool = False) -> Iterator[tuple[str, mx.array]]:
    """The named results of a step on random numbers. Of a sum with the residual stream, only what was added.

    Experts are chosen at random and, to test the ends of their arrays, the last ones. With `exact`, MLX's operations
    compute experts in float32: in bfloat16 they round after each operation, which the kernels do not.
    """
    config, layer, dtype = model.config, model.weights.layers[0], model.weights.dtype
    x, experts, wide = _random(config.hidden_size, 1), config.num_experts, mx.float32 if exact else dtype
    # Forced by biases that are larger than any score of a router.
    last = replace(layer, gate_bias=layer.gate_bias + 1000.0 * mx.arange(experts))
    match name:
        case "qkv":
            yield from zip(("query", "key and value"), steps.qkv(x, layer, 7), strict=True)
        case "output":
            made = steps.output(_random(config.query_width, 3).astype(dtype), layer, x)
            yield from (("sum", made.x - x), ("scaled", made.t), ("scores", made.parts), ("squares", made.squares))
        case "gate_up":
            for chosen, given in (("some experts", layer), ("the last experts", last)):
                active = steps.gate_up(routed(x, given, wide), given)
                yield f"choice of {chosen}", active.chosen[:, None] == mx.arange(experts)
                yield f"weights of {chosen}", active.shares
                yield chosen, active.hidden
        case "down":
            k, inter = config.experts_per_token, config.intermediate_size
            hidden = _random(k * inter, 4).reshape(k, inter).astype(dtype).astype(wide)
            some, shares = mx.argsort(_random(experts, 2))[:k], mx.softmax(_random(k, 5))
            for chosen, ids in (("some experts", some), ("the last experts", mx.arange(experts, dtype=mx.uint32)[-k:])):
                yield chosen, steps.down(Activated(hidden, ids, shares), layer, x) - x
        case "head":
            everything = mx.ones((config.vocab_size,), dtype=mx.bool_)
            yield "logits", steps.head(x, everything, _key(5), mx.zeros((1,)))[0]


def _wrong_draw(kernels: Steps, model: Transformer) -> str | None:
    """What is wrong with the kernel's draws; None if nothing is.

    A draw must be the best allowed id by the kernel's own logits, with and without noise, and also if only the first or
    only the last id is allowed.
    """
    ids = mx.arange(model.config.vocab_size, dtype=mx.uint32)
    for number, coldness in enumerate((0.0, 1.0, 0.5)):
        for allowed in (ids % 3 != 0, ids == 0, ids == len(ids) - 1):
            x, key = _random(model.config.hidden_size, 10 + number), _key(20 + number)
            logits, drawn, logprob = kernels.head(x, allowed, key, mx.array([coldness]))
            noisy = logits * coldness + gumbel(ids, key) if coldness else logits
            best = mx.where(allowed, noisy, -mx.inf).max()
            if not (allowed[drawn] & (noisy[drawn] > best - 1e-4)).item():
                return f"id {drawn.item()} is drawn where another one is better"
            if not mx.allclose(logprob, logits[drawn] - mx.logsumexp(logits), atol=1e-3):
                return f"the log-probability of id {drawn.item()} is wrong"
    return None


def _random(size: int, seed: int) -> mx.array:
    return mx.random.normal((size,), key=mx.random.key(seed))


def _key(seed: int) -> mx.array:
    return mx.random.key(seed)
