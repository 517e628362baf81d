"""Before the first request: which of our kernels compute on this device what MLX computes?

Each runs on random numbers and weights of the model, beside its twin, after another process has tried it on this
machine (`verdicts.py`). One that cannot be compiled, or computes something else, is not used: MLX's operations take
its place, and the device's description says so.
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
"""Which kernels may be used: names with commas between them, or `off`. By default all."""

_NOTHING: Mapping[str, str] = MappingProxyType({})

TOLERANCE = {mx.bfloat16: 1e-2, mx.float32: 1e-4}
"""Of the norm of a result. Products are rounded once, and sums are taken in another order."""

ROW_TOLERANCE = {mx.bfloat16: 4e-2, mx.float32: 1e-3}
"""Of each single value, or of the root mean square of all of them where that is larger: one wrong row among thousands
hardly changes the norm. In bfloat16, what is rounded the other way is off by 0.8 % of itself, before it is turned."""


def may_fuse(config: ModelConfig) -> bool:
    """Whether kernels are wanted, take models of this shape, and have a GPU.

    Raises UsageError for a name in the environment that there is not.
    """
    return bool(wanted_kernels()) and can_fuse(config) and on_gpu()


def choose_steps(model: Transformer, launch: Launcher = launch_metal, refused: Mapping[str, str] = _NOTHING) -> Decoder:
    """A decoder with all kernels that are wanted, right, and not `refused` already, by the name of their step.

    Raises UsageError for a name in the environment that there is not.
    """
    kernels, twins, right = Fused(model, launch), Twins(model), set[str]()
    for name in wanted_kernels():
        if (reason := refused.get(name) or refusal(name, kernels, twins, model)) is None:
            right.add(name)
        else:
            print(f"The Metal kernel {name} is not used: {reason}", file=sys.stderr)
    return Decoder(model, kernels, frozenset(right))


def describe(decoder: Decoder) -> str:
    """Which steps are MLX's own operations, in a few words; nothing where none is."""
    others = [name for name in NAMES if name not in decoder.fused]
    if len(others) == len(NAMES):
        return "MLX's operations only"
    return f"MLX's own {', '.join(others)}" if others else ""


def wanted_kernels() -> list[str]:
    """What the environment allows. Raises UsageError for a name that there is not."""
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
    """Why the kernels of a step are not to be used: they fail, or compute something else than its twin. Else None."""
    try:
        ours, theirs = results(name, kernels, model), results(name, twins, model, exact=True)
        for (part, got), (_, wanted) in zip(ours, theirs, strict=True):
            if difference := compare(got, wanted, model.weights.dtype):
                return f"{part}: {difference}"
        return _wrong_draw(kernels, model) if name == "head" else None
    except Exception as error:  # whatever MLX, its compiler or the device says: the twin is there
        return " ".join(str(error).split()) or type(error).__name__


def compare(got: mx.array, wanted: mx.array, dtype: mx.Dtype) -> str | None:
    """How a result in `dtype` differs by more than roundings, in words; None where it does not."""
    ours, theirs = (array.astype(mx.float32).flatten() for array in (got, wanted))
    size = mx.sqrt(mx.mean(theirs * theirs))
    rows = mx.abs(ours - theirs) / mx.maximum(mx.abs(theirs), size)
    norm = float((mx.linalg.norm(ours - theirs) / mx.linalg.norm(theirs)).item())
    worst = int(mx.argmax(mx.where(mx.isnan(rows), mx.inf, rows)).item())
    # What is not a number is not smaller than anything.
    if not float(rows[worst].item()) < ROW_TOLERANCE[dtype]:
        return f"value {worst} of {len(ours)} is {ours[worst].item():.4g} instead of {theirs[worst].item():.4g}"
    return None if norm < TOLERANCE[dtype] else f"differs by {norm:.2g} of its norm"


def results(name: str, steps: Steps, model: Transformer, *, exact: bool = False) -> Iterator[tuple[str, mx.array]]:
    """What a step makes of random numbers, with a name each. Of sums with the residual stream, what was added.

    Experts are chosen by chance and, for the edges of their arrays, from the last one on. `exact` has MLX's operations
    compute theirs in float32: in bfloat16 they round at each step on the way, which kernels do not.
    """
    config, layer, dtype = model.config, model.weights.layers[0], model.weights.dtype
    x, experts, wide = _random(config.hidden_size, 1), config.num_experts, mx.float32 if exact else dtype
    # By their biases, which are larger than anything that a router makes of a token.
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
    """What is wrong with draws, which are to be the best of the kernel's own logits among what is allowed: with noise
    and without, and where only the first or the last id is."""
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
