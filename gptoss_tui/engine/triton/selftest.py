"""Checks, before the first request, that this device computes what the reference does.

A few tokens run through the first two layers (one sliding, one full): all but the last through the prefill kernels, the
last ones through the decode kernels. Their results, and some of the logits, are compared with plain torch in float32.
Then a token is chosen, and drafts are looked up. A driver, compiler or GPU that computes wrong results is refused here,
instead of being noticed by bad answers.
"""

from __future__ import annotations

from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.planning.choice import cpu_backend
from gptoss_tui.engine.torch.model import apply_rope, attend, hidden_keys, rms_norm, swiglu
from gptoss_tui.engine.triton.decode import MAX_TOKENS, Decoder
from gptoss_tui.engine.triton.kernels.mxfp4 import Tiles
from gptoss_tui.engine.triton.prefill import Prefill
from gptoss_tui.engine.triton.weights import LayerWeights
from gptoss_tui.errors import WrongResultsError

TOKENS = 5
LAYERS = 2
STRIDES = (31, 1013, 4099)
"""Steps between the token ids of the texts to try."""

TOGETHER = 4
"""Tokens in a step with drafts: in models with 8 query heads per key head, more than one attention program's."""

SOME_LOGITS = 500

LOGPROB_TOLERANCE = 1e-3

TOLERANCE = 2e-2
"""Relative to the norm of what the layers add, in bfloat16; rounding each product twice gives about 5e-3."""


def check_device(decoder: Decoder, prefill: Prefill, most: int = TOGETHER) -> None:
    """Raise WrongResultsError if the kernels differ from the reference for all of the texts, or choose wrong tokens.

    Steps have up to `most` tokens. A single text may fail because of rounding: where two experts score the same, either
    choice is right, but they add different things. A device that computes wrong results fails for all texts. Leaves
    the cache empty.
    """
    _check_layers(decoder, prefill, most)
    for tokens in sorted({1, most}):
        _check_choice(decoder, tokens)
    if most > 1:
        _check_drafts(decoder)
    decoder.cache.clear()


def _check_layers(decoder: Decoder, prefill: Prefill, most: int) -> None:
    *some, last = STRIDES
    for stride in some:
        with suppress(WrongResultsError):
            return _check(decoder, prefill, stride, most)
    return _check(decoder, prefill, last, most)


def _check(decoder: Decoder, prefill: Prefill, stride: int, most: int) -> None:
    cache, state, config = decoder.cache, decoder.state, decoder.config
    cache.clear()
    ids = torch.arange(1, TOKENS + 1, device=decoder.weights.device) * stride % config.vocab_size
    start, expected = decoder.weights.embedding[ids].float(), reference(decoder, ids)
    cache.reserve(TOKENS)
    for tokens in sorted({1, most}):
        state.position.zero_()
        got = prefill.run(ids[:-tokens], layers=LAYERS)
        _compare("prefill", got - start[:-tokens], (expected - start)[:-tokens])
        state.position.fill_(TOKENS - tokens)
        state.count.fill_(tokens)
        state.xs[:tokens].copy_(start[-tokens:])
        _first_layers(decoder, tokens)
        _compare(f"a step of {tokens}", (state.xs[:tokens] - start[-tokens:]), (expected - start)[-tokens:])
        some = slice(None, None, (config.vocab_size // SOME_LOGITS) | 1)
        normed = rms_norm(state.xs[:tokens], decoder.weights.norm)
        wanted = F.linear(normed, decoder.weights.unembedding[some].float())
        _compare(f"logits of {tokens}", state.all_logits[:tokens, some], wanted)
    state.count.fill_(1)


def _check_choice(decoder: Decoder, tokens: int) -> None:
    """Check the choice of the likeliest tokens by the logits in the state; the drafts foresee all of them."""
    state = decoder.state
    state.temperature.zero_()
    state.bias.zero_()
    state.at.fill_(-1)
    state.step.zero_()
    state.position.zero_()
    wanted, values = state.all_logits[:tokens].argmax(1), state.all_logits[:tokens].log_softmax(1)
    state.drafts[: tokens - 1] = wanted[:-1].int()
    state.count.fill_(tokens)
    decoder.choose(tokens)
    if not torch.equal(state.tokens[:tokens], wanted) or int(state.step) != tokens:
        raise _wrong("the likeliest token")
    # An absolute error, since the logprob of a certain token is 0 up to rounding.
    error = (state.logprobs[:tokens] - values.gather(1, wanted[:, None])[:, 0]).abs().max()
    if not float(error) < LOGPROB_TOLERANCE:
        raise _wrong(f"its logprob: error {float(error):.3g}")


def _check_drafts(decoder: Decoder) -> None:
    """Check the drafts for a text that repeats itself."""
    state = decoder.state
    text = torch.tensor([1, 2, 3, 4, 1, 2, 3], dtype=torch.int32, device=state.history.device)
    state.history[: len(text)] = text
    state.position.fill_(len(text) - 1)
    decoder.draft()
    if int(state.count) != 5 or not torch.equal(state.drafts[:4], text[3:]):
        raise _wrong("drafts")
    state.count.fill_(1)


def same_bits(decoder: Decoder) -> bool:
    """Whether tokens get the same logits, bit for bit, one by one and in steps of several. Drafts rely on that.

    The cache's context must have room for `MAX_TOKENS`. Leaves the cache empty.
    """
    alone = _logits_in_steps(decoder, 1)
    return all(torch.equal(_logits_in_steps(decoder, tokens), alone) for tokens in (2, TOGETHER, MAX_TOKENS))


def _logits_in_steps(decoder: Decoder, tokens: int) -> Tensor:
    """Logits after each of `MAX_TOKENS` tokens, from the first layers only, run in steps of `tokens` tokens."""
    cache, state, config = decoder.cache, decoder.state, decoder.config
    ids = torch.arange(1, MAX_TOKENS + 1, device=decoder.weights.device) * STRIDES[0] % config.vocab_size
    cache.clear()
    cache.reserve(MAX_TOKENS)
    state.count.fill_(tokens)
    rows = []
    for start in range(0, MAX_TOKENS, tokens):
        state.position.fill_(start)
        state.xs[:tokens] = decoder.weights.embedding[ids[start : start + tokens]]
        _first_layers(decoder, tokens)
        rows.append(state.all_logits[:tokens].clone())
    state.count.fill_(1)
    return torch.cat(rows)


def _first_layers(decoder: Decoder, tokens: int) -> None:
    """Run a step through the first layers only, and compute its logits."""
    layers = decoder.config.num_hidden_layers
    decoder.scale(0, tokens)
    for layer in range(min(LAYERS, layers)):
        decoder.layer(layer, splits=2, tokens=tokens)
    decoder.scale(layers, tokens)
    decoder.logits(tokens)


def _compare(what: str, ours: Tensor, wanted: Tensor) -> None:
    error = float((ours - wanted).norm() / wanted.norm())
    if not error < TOLERANCE:
        raise _wrong(f"{what}: relative error {error:.3g}")


def _wrong(what: str) -> WrongResultsError:
    return WrongResultsError(
        f"This GPU does not compute what the reference does ({what})",
        hint="update the driver and Triton, and report the card; until then,"
        f" `--backend {cpu_backend()}` runs on the CPU",
    )


def reference(decoder: Decoder, ids: Tensor) -> Tensor:
    """Run the first layers in plain torch; returns the residual stream, float32 [T, H]."""
    config, tokens = decoder.config, len(ids)
    cos, sin = decoder.cos[:tokens], decoder.sin[:tokens]
    x = decoder.weights.embedding[ids].float()
    for index, layer in enumerate(decoder.weights.layers[:LAYERS]):
        window = config.sliding_window if config.is_sliding(index) else None
        t = rms_norm(x, layer.attn_norm)
        heads = F.linear(t, layer.qkv_weight[:].float(), layer.qkv_bias.float()).view(tokens, -1, config.head_dim)
        kv = config.num_key_value_heads
        turned = apply_rope(heads[:, :-kv], cos, sin)
        keys, values = turned[:, -kv:].transpose(0, 1), heads[:, -kv:].transpose(0, 1)
        hidden = hidden_keys(tokens, 0, window, ids.device)
        mixed = attend(turned[:, :-kv].contiguous(), keys, values, layer.sinks.float(), hidden)
        x = x + F.linear(mixed, layer.out_weight[:].float(), layer.out_bias.float())
        t = rms_norm(x, layer.mlp_norm)
        x = x + torch.stack([_experts(row, layer, config) for row in t])
    return x


def _experts(t: Tensor, layer: LayerWeights, config: ModelConfig) -> Tensor:
    """The weighted sum of the experts' outputs for one token t [H]."""
    scores, chosen = F.linear(t, layer.gate_weight.float(), layer.gate_bias.float()).topk(config.experts_per_token)
    total = torch.zeros_like(t)
    for expert, share in zip(chosen.tolist(), scores.softmax(-1), strict=True):
        up = F.linear(t, unpacked(layer.mlp1, expert), layer.mlp1.bias[expert].float())
        hidden = swiglu(up, config.swiglu_limit)
        total += share * F.linear(hidden, unpacked(layer.mlp2, expert), layer.mlp2.bias[expert].float())
    return total


def unpacked(tiles: Tiles, expert: int) -> Tensor:
    """The weight of one expert, float32 [rows, columns]."""
    values = tiles.values[expert]  # [rows / 16, tiles, 16, 32]
    magnitudes = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], device=values.device)
    table = torch.cat((magnitudes, -magnitudes))
    both = torch.stack((table[(values & 15).long()], table[(values >> 4).long()]), dim=3)  # [.., 16, 2, 32]
    scales = torch.exp2(tiles.scales[expert].float() - 127)  # [rows / 16, tiles, 8, 2, 2]
    scales = scales.transpose(2, 3).flatten(2, 3)  # [rows / 16, tiles, 16, 2]
    rows = (both * scales[..., None]).transpose(1, 2).flatten(0, 1).flatten(1)
    return rows[:, : tiles.columns]
