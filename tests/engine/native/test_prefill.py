"""Products and attention of many tokens, on every instruction set of this machine, against float32 in torch."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gptoss_tui.engine.native import library
from gptoss_tui.engine.native.trial import WRITTEN, Kernels, all_kernels, attention, peak, product
from gptoss_tui.engine.torch.model import attend, swiglu
from tests.engine.native.matrices import Packed, largest_matrix, random_matrix, rows_for

pytestmark = pytest.mark.skipif(not library.available(), reason="the CPU kernels are not built")

KINDS = {"mxfp4": library.MXFP4, "bf16": library.BF16, "int8": library.INT8}
TOKENS = (*range(1, 18), 23, 24, 25, 31, 32, 33, 63, 64, 65, 100, 130)
EVERY = pytest.mark.parametrize("kernels", all_kernels(), ids=str)
WIDE = pytest.mark.parametrize("wide", [True, False], ids=["float", "bf16"])


def tolerance(kernels: Kernels, kind: int) -> float:
    """The error of results as a share of their size, both as root mean squares: see `Precision` in native.h."""
    if kernels.exact:
        return 2e-5
    return 6e-3 if kind == library.BF16 else 2e-2


def assert_close(actual: Tensor, expected: Tensor, share: float) -> None:
    assert bool(actual.isfinite().all())
    error = (actual - expected).square().mean().sqrt()
    assert float(error) <= share * float(expected.square().mean().sqrt()) + 1e-30


def sizes(kernels: Kernels) -> tuple[tuple[int, ...], int]:
    """Numbers of tokens and columns to try: fewer where instructions are written out."""
    return ((1, 15, 16, 17, 33, 49), 352) if kernels.isa == WRITTEN else (TOKENS, 416)


@EVERY
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("rows", [16, 304], ids=["router", "dense"])
def test_dense_products(kernels: Kernels, kind: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    counts, columns = sizes(kernels)
    w = random_matrix(kind, 1, rows, columns, generator)
    x = rows_for(max(counts), columns, fill=0.0, beyond=32)
    x.copy_(torch.randn(x.shape, generator=generator) * torch.rand(x.shape[0], 1, generator=generator).exp())
    expected = x @ w.values[0].T + w.bias[0]
    for count in counts:
        y = rows_for(count, rows)
        assert product(kernels, w.matrix, x[:count], y, None, None) >= 0
        # Few rows, as a router has, are exact always.
        assert_close(y, expected[:count], 1e-5 if rows <= 256 and kind != library.INT8 else tolerance(kernels, kind))


@EVERY
@pytest.mark.parametrize("tokens", [1, 7, 40, 130])
def test_experts(kernels: Kernels, tokens: int) -> None:
    """Up and down as a layer does them: some experts have no tokens, one has most of them."""
    if kernels.isa == WRITTEN and tokens > 40:
        pytest.skip("instructions written out are slow")
    generator = torch.Generator().manual_seed(tokens)
    experts, per_token, hidden, inner, limit = 9, 3, 96, 64, 1.5
    up = random_matrix(library.MXFP4, experts, 2 * inner, hidden, generator)
    down = random_matrix(library.MXFP4, experts, hidden, inner, generator)
    first, token = routing(tokens, experts, per_token, generator)
    x = rows_for(tokens, hidden, fill=0.0, beyond=32)
    x.copy_(torch.randn(x.shape, generator=generator))
    h, y = rows_for(len(token), inner), rows_for(len(token), hidden)
    assert product(kernels, up.matrix, x, h, first, token, limit) >= 0
    assert_close(h, activated(up, first, x[token.long()], limit), tolerance(kernels, library.MXFP4))
    assert product(kernels, down.matrix, h, y, first, None) >= 0
    assert_close(y, each(down, first, h), tolerance(kernels, library.MXFP4))


@EVERY
def test_more_tokens_than_are_multiplied_at_once(kernels: Kernels) -> None:
    """AMX multiplies a strip by at most 256 tokens, or 128 in two parts; each of these experts has more."""
    generator = torch.Generator().manual_seed(6)
    w = random_matrix(library.MXFP4, 3, 48, 64, generator)
    first = torch.tensor([0, 300, 557, 557], dtype=torch.int32)
    x = rows_for(557, 64, fill=0.0, beyond=32)
    x.copy_(torch.randn(x.shape, generator=generator))
    y = rows_for(557, 48)
    assert product(kernels, w.matrix, x, y, first, None) >= 0
    assert_close(y, each(w, first, x), tolerance(kernels, library.MXFP4))


@EVERY
def test_nothing_beyond_the_rows_is_written_or_counts(kernels: Kernels) -> None:
    generator = torch.Generator().manual_seed(1)
    w = random_matrix(library.MXFP4, 1, 48, 64, generator)
    x = torch.full((20, 96), float("nan"))
    x[:13, :64] = torch.randn(13, 64, generator=generator)
    y = torch.full((14, 64), 7.0)
    assert product(kernels, w.matrix, x[:13, :64], y[:13, :48], None, None) >= 0
    assert_close(y[:13, :48], x[:13, :64] @ w.values[0].T + w.bias[0], 1e-2)
    assert bool((y[:, 48:] == 7).all())
    assert bool((y[13:] == 7).all())


@EVERY
@pytest.mark.parametrize("kind", [library.MXFP4, library.INT8], ids=["mxfp4", "int8"])
def test_largest_values(kernels: Kernels, kind: int) -> None:
    """Weights and activations of one size, in signs that add up as far as sums can go, and that alternate."""
    signs = torch.ones(4, 96)
    signs[1] = -1
    signs[2, 1::2] = -1
    signs[3, 48:] = -1
    w = largest_matrix(kind, signs.repeat(68, 1))
    x, y = rows_for(8, 96, fill=0.0, beyond=32), rows_for(8, 272)
    x.copy_(torch.cat((signs, -signs)) * 3)
    assert product(kernels, w.matrix, x, y, None, None) >= 0
    assert_close(y, x @ w.values[0].T, 1e-2)


@EVERY
def test_threads_change_nothing(kernels: Kernels) -> None:
    generator = torch.Generator().manual_seed(2)
    w = random_matrix(library.MXFP4, 4, 64, 96, generator)
    first, token = routing(30, 4, 2, generator)
    x = torch.randn(30, 96, generator=generator)
    results = []
    for threads in (1, 3):
        h = rows_for(60, 32)
        assert product(Kernels(kernels.isa, kernels.exact, threads), w.matrix, x, h, first, token, limit=7.0) >= 0
        results.append(h.clone())
    assert torch.equal(*results)


@EVERY
@WIDE
@pytest.mark.parametrize("dim", [32, 64])
@pytest.mark.parametrize(
    ("tokens", "past", "window"),
    [
        (1, 0, 0),
        (1, 63, 0),
        (1, 64, 0),
        (1, 300, 128),
        (5, 127, 128),
        (64, 0, 8),
        (130, 0, 0),
        (50, 200, 0),
        (70, 150, 128),
    ],
)
def test_attention(kernels: Kernels, wide: bool, dim: int, tokens: int, past: int, window: int) -> None:
    generator = torch.Generator().manual_seed(past)
    kv_heads, shared = 2, 4
    query = torch.randn(tokens, kv_heads * shared, dim, generator=generator)
    sinks = torch.randn(kv_heads * shared, generator=generator)
    keys, values = (torch.randn(kv_heads, past + tokens, dim, generator=generator) * 2 for _ in range(2))
    if not wide:
        keys, values = keys.bfloat16(), values.bfloat16()
    # What no token sees is poisoned, before the window and behind the last token.
    seen = slice(max(0, past - window + 1) if window else 0, past + tokens)
    memory = torch.full((2, kv_heads, past + tokens + 70, dim), float("nan"), dtype=keys.dtype)
    memory[0, :, seen], memory[1, :, seen] = keys[:, seen], values[:, seen]
    out = torch.full((tokens, kv_heads * shared, dim), float("nan"))
    assert attention(kernels, query * dim**-0.5, memory[0], memory[1], sinks, past, window, out) >= 0
    hidden = unseen(tokens, past, window)[:, seen]
    expected = attend(query, keys[:, seen].float(), values[:, seen].float(), sinks, hidden)
    assert_close(out.flatten(1), expected, 1e-5 if kernels.exact or wide else 1e-2)


@EVERY
@pytest.mark.parametrize(
    ("kv_heads", "shared", "dim", "tokens", "past", "window"),
    [
        (1, 8, 64, 26, 400, 0),  # many blocks; the last rows do not fill a tile
        (3, 1, 64, 70, 300, 60),  # blocks that some rows do not see
        (2, 3, 128, 7, 290, 0),
        (1, 65, 96, 3, 130, 100),
        (1, 8, 32, 2, 520, 0),  # so few rows that each block goes on with the same ones
    ],
)
def test_attention_of_other_shapes(
    kernels: Kernels, kv_heads: int, shared: int, dim: int, tokens: int, past: int, window: int
) -> None:
    generator = torch.Generator().manual_seed(dim)
    query = torch.randn(tokens, kv_heads * shared, dim, generator=generator)
    sinks = torch.randn(kv_heads * shared, generator=generator)
    keys, values = (torch.randn(kv_heads, past + tokens, dim, generator=generator).bfloat16() * 2 for _ in range(2))
    out = torch.full_like(query, float("nan"))
    assert attention(kernels, query * dim**-0.5, keys, values, sinks, past, window, out) >= 0
    expected = attend(query, keys.float(), values.float(), sinks, unseen(tokens, past, window))
    assert_close(out.flatten(1), expected, 1e-5 if kernels.exact else 1e-2)


@EVERY
@WIDE
def test_extreme_scores(kernels: Kernels, wide: bool) -> None:
    """Scores far apart, a sink that takes all of the mass, and one that takes none."""
    count = 300
    keys = torch.zeros(1, count, 32)
    keys[0, :, 0] = torch.linspace(-2000, 2000, count)
    values = torch.randn(1, count, 32, generator=torch.Generator().manual_seed(3))
    keys, values = (tensor if wide else tensor.bfloat16() for tensor in (keys, values))
    query = torch.zeros(1, 4, 32)
    query[0, :, 0] = torch.tensor([1.0, -1.0, 1.0, 2.0**-10])
    sinks = torch.tensor([5000.0, -1e30, -float("inf"), 0.0])
    out = torch.full((1, 4, 32), float("nan"))
    assert attention(kernels, query, keys, values, sinks, count - 1, 0, out) >= 0
    assert float(out[0, 0].abs().max()) < 1e-30
    assert_close(out[0, 1], values[0, 0].float(), 1e-2)
    shares = torch.softmax(keys[0, :, 0].float(), 0)  # at the end, scores grow with every block
    assert_close(out[0, 2], shares @ values[0].float(), 1e-2)
    shares = torch.softmax(torch.cat((keys[0, :, 0].float() * 2.0**-10, torch.zeros(1))), 0)[:-1]
    assert_close(out[0, 3], shares @ values[0].float(), 1e-2)


@EVERY
@WIDE
def test_what_is_no_number_is_no_number_in_what_sees_it(kernels: Kernels, wide: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    tokens, past, heads, dim = 6, 200, 8, 32
    for place in ("query", "sink", "key", "value"):
        query, out = torch.randn(tokens, heads, dim, generator=generator), torch.zeros(tokens, heads, dim)
        keys, values = (torch.randn(1, past + tokens, dim, generator=generator) for _ in range(2))
        sinks, lost = torch.zeros(heads), torch.zeros(tokens, heads, dim, dtype=torch.bool)
        if place == "query":
            query[3, 5, 7], lost[3, 5] = float("nan"), True
        elif place == "sink":
            sinks[2], lost[:, 2] = float("nan"), True
        elif place == "key":
            keys[0, past + 4, 9], lost[4:] = float("nan"), True
        else:
            values[0, 150, 11], lost[:, :, 11] = float("nan"), True
        keys, values = (tensor if wide else tensor.bfloat16() for tensor in (keys, values))
        assert attention(kernels, query, keys, values, sinks, past, 0, out) >= 0
        assert torch.equal(out.isnan(), lost), place


def test_the_most_that_a_machine_can_do_is_measured() -> None:
    found = [peak(Kernels(isa, exact=False, threads=1), library.MXFP4) for isa in library.instruction_sets()]
    assert all(operations > 1e8 for operations in found)


def unseen(tokens: int, past: int, window: int) -> Tensor:
    """Which keys a token does not see [tokens, past + tokens]."""
    position = past + torch.arange(tokens)[:, None]
    key = torch.arange(past + tokens)[None]
    return (key > position) | (key <= position - (window or past + tokens + 1))


def routing(tokens: int, experts: int, per_token: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where each expert's pairs begin [experts + 1] and the token of each pair, int32; experts 1 and 4 get none."""
    liked = torch.rand(tokens, experts, generator=generator)
    liked[:, 0] += 0.7
    if experts > 4:
        liked[:, [1, 4]] = -1.0
    chosen = liked.topk(per_token).indices
    order = chosen.flatten().argsort(stable=True)
    counts = chosen.flatten().bincount(minlength=experts)
    first = torch.cat((torch.zeros(1, dtype=torch.long), counts.cumsum(0)))
    return first.int(), (order // per_token).int().contiguous()


def each(w: Packed, first: Tensor, x: Tensor) -> Tensor:
    """Each pair's row of x [pairs, columns] times its expert's matrix."""
    bounds = first.tolist()
    parts = [x[a:b] @ w.values[e].T + w.bias[e] for e, (a, b) in enumerate(pairwise(bounds))]
    return torch.cat(parts)


def activated(w: Packed, first: Tensor, x: Tensor, limit: float) -> Tensor:
    """SwiGLU of `each`, whose rows are groups of 16 gates and 16 linear ones."""
    gates = each(w, first, x).view(len(x), -1, 2, 16)
    return swiglu(gates.transpose(2, 3).reshape(len(x), -1), limit)
