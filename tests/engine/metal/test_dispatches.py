"""How many kernels the GPU starts for a token, counted in the graph that MLX would run.

Each node of the graph is one but for views, which only look at an array in another way. Our kernels and MLX's fused
ones are nodes of their own on a GPU; on the CPU, where MLX writes the fused ones out, a stand-in is put there for each.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.metal.conftest import SHAPES

if TYPE_CHECKING:
    import mlx.core as mx

    from gptoss_tui.engine.metal.decode import Decoder

VIEWS = {"Broadcast", "ExpandDims", "Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unflatten"}
KERNEL = "Depends"
"""What MLX calls the stand-ins."""


def stand_in(shapes: Sequence[tuple[int, ...]], dtypes: Sequence[mx.Dtype], inputs: Sequence[mx.array]) -> Any:
    """Arrays that come from one node, which needs all inputs."""
    import mlx.core as mx

    made = [mx.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    mx.eval(made)
    return mx.depends(made, list(inputs))


def like_first(*given: Any, **named: Any) -> mx.array:
    """One node in place of a function of MLX's, with a result like the first argument."""
    arrays = [array for array in given if hasattr(array, "shape")]
    (made,) = stand_in([arrays[0].shape], [arrays[0].dtype], arrays)
    return made


def dispatches(decoder: Decoder) -> Counter[str]:
    """Kernels of one token, by their names."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.kv_cache import KVCache

    config = decoder.model.config
    cache = KVCache(config, 64, 1, mx.bfloat16)
    cache.reserve(1)
    id, key, coldness = mx.array([5]), mx.random.key(0), mx.array([1.0])
    allowed = mx.zeros((config.vocab_size,)) == 0
    mx.eval(id, key, coldness, allowed)
    text = io.StringIO()
    mx.export_to_dot(text, *decoder.head(decoder.hidden(id, cache), allowed, key, coldness))
    nodes = Counter(re.findall(r'label ="(\w+)"', text.getvalue()))
    return Counter({name: count for name, count in nodes.items() if name not in VIEWS})


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], Counter[str]]:
    """Kernels of a token through so many layers, ours or MLX's operations only."""
    import mlx.core as mx

    from gptoss_tui.engine.metal import model
    from gptoss_tui.engine.metal.decode import Decoder
    from gptoss_tui.engine.metal.kernels import NAMES
    from gptoss_tui.engine.metal.probe import random_model
    from gptoss_tui.engine.metal.steps import Fused

    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", like_first)
    monkeypatch.setattr(mx.fast, "rms_norm", lambda x, scale, epsilon: like_first(x, scale))
    monkeypatch.setattr(model, "gated", lambda gate, up, limit: like_first(gate, up))
    monkeypatch.setattr(model, "rotated", like_first)

    def made(layers: int, ours: bool) -> Counter[str]:
        loaded = random_model(replace(SHAPES["small"], num_hidden_layers=layers), mx.bfloat16)
        fused = Fused(loaded, lambda kernel, how: partial(stand_in, how.shapes, how.dtypes))
        return dispatches(Decoder(loaded, fused, frozenset(NAMES)) if ours else Decoder(loaded))

    return made


def test_a_layer_takes_six(count: Callable[[int, bool], Counter[str]]) -> None:
    """Four of ours, attention, and the write to the cache; a token takes four more. With a long context MLX's attention
    is two."""
    two, four = count(2, True), count(4, True)
    layers = (four - two) + Counter()
    assert layers == {KERNEL: 2 * 5, "SliceUpdate": 2 * 1}
    assert two - layers == {"Gather": 1, "AsType": 1, KERNEL: 2}


def test_mlx_alone_takes_many_times_as_many(count: Callable[[int, bool], Counter[str]]) -> None:
    """Which is what the kernels are for: 29, as of MLX 0.32."""
    assert (count(4, False) - count(2, False)).total() / 2 > 4 * 6
