"""Parts of the model by their definitions, and how many threads a step takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint.random_weights import random_tensor
from gptoss_tui.engine.checkpoint.tensors import tensor_table
from gptoss_tui.engine.torch import model as model_module
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.model import SMALL_LAYER, Transformer, attend, hidden_keys
from gptoss_tui.engine.torch.weights import load_weights
from tests.conformance.shapes import SMALL

CPU = torch.device("cpu")


@pytest.mark.parametrize("tokens", [1, 5])
def test_a_sink_takes_its_share_and_gives_nothing(tokens: int) -> None:
    """Scores of 0 and values of 1: n keys in sight give n / (n + exp(sink)), what is left of 1 is the sink's."""
    past, heads, kv_heads, dim = 7, 4, 2, 8
    sinks = torch.tensor([-2.0, 0.0, 1.0, 3.0])
    keys, values = torch.zeros(kv_heads, past + tokens, dim), torch.ones(kv_heads, past + tokens, dim)
    hidden = hidden_keys(tokens, past, None, CPU)
    mixed = attend(torch.randn(tokens, heads, dim), keys, values, sinks, hidden).view(tokens, heads, dim)
    in_sight = torch.arange(past + 1, past + tokens + 1)[:, None, None]
    expected = in_sight / (in_sight + sinks.exp()[None, :, None])
    torch.testing.assert_close(mixed, expected.expand(-1, -1, dim))


def test_sinks_of_no_weight_leave_a_plain_softmax() -> None:
    """And an endless one takes everything."""
    query, keys, values = torch.randn(1, 2, 8), torch.randn(2, 9, 8), torch.randn(2, 9, 8)
    plain = torch.nn.functional.scaled_dot_product_attention(query.transpose(0, 1), keys, values).view(1, 16)
    torch.testing.assert_close(attend(query, keys, values, torch.full((2,), -torch.inf), None), plain)
    assert not attend(query, keys, values, torch.full((2,), 1e4), None).any()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """As on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("limit", "one_token"), [(SMALL_LAYER, 1), (0, 2)])
def test_one_token_through_small_layers_takes_one_thread(
    monkeypatch: pytest.MonkeyPatch, limit: int, one_token: int
) -> None:
    """Prefill takes all of them, and so does the next caller."""
    monkeypatch.setattr(model_module, "SMALL_LAYER", limit)
    table = tensor_table(SMALL)
    weights = load_weights(lambda name: random_tensor(name, table[name], 0), SMALL, torch.float32, CPU)
    model, cache = Transformer(SMALL, weights, 16), KVCache(SMALL, 16, 8, torch.float32, CPU)
    seen: list[tuple[str, int]] = []
    for name in ("moe_token", "moe_chunk"):
        monkeypatch.setattr(model_module, name, _noting_threads(getattr(model_module, name), name, seen))
    with torch.inference_mode():
        for ids in ([1, 2, 3], [4]):
            cache.reserve(len(ids))
            model.hidden(torch.tensor(ids), cache)
            cache.commit(ids)
    assert set(seen) == {("moe_chunk", 2), ("moe_token", one_token)}
    assert torch.get_num_threads() == 2


def _noting_threads(run: Callable[..., Tensor], name: str, seen: list[tuple[str, int]]) -> Callable[..., Tensor]:
    def noting(*args: object) -> Tensor:
        seen.append((name, torch.get_num_threads()))
        return run(*args)

    return noting
