"""The gpt-oss architecture as it is trained: nano's shapes, packed rows, every expert computed.

Same arithmetic as the engine's model (`docs/nano.md` says how that is checked). What differs is how the work is
arranged: many conversations share one row and one preamble, all experts run and the unselected ones get weight zero,
and the expert weights are rounded to MXFP4 in the forward pass with a straight-through gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from gptoss_tui.engine.nano.compact import CODE_SCALE, NUM_FLAGS, code_rows


@dataclass(frozen=True, slots=True)
class Shape:
    """nano's dimensions. Names as in ModelConfig."""

    num_hidden_layers: int = 8
    num_experts: int = 8
    experts_per_token: int = 4
    hidden_size: int = 384
    intermediate_size: int = 256
    head_dim: int = 64
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    sliding_window: int = 128
    swiglu_limit: float = 7.0
    rope_theta: float = 150_000.0
    rope_scaling_factor: float = 32.0
    rope_ntk_alpha: float = 1.0
    rope_ntk_beta: float = 32.0
    initial_context_length: int = 4096
    vocab_size: int = 201_088


def rope_tables(shape: Shape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin [..., head_dim / 2] in bf16 at integer `positions`; YaRN by parts (spec of the published model)."""
    half = shape.head_dim // 2
    freq = shape.rope_theta ** (torch.arange(half, device=positions.device, dtype=torch.float32) / half)

    def bound(rotations: float) -> float:
        return half * math.log(shape.initial_context_length / (rotations * 2 * math.pi)) / math.log(shape.rope_theta)

    low, high = bound(shape.rope_ntk_beta), bound(shape.rope_ntk_alpha)
    ramp = ((torch.arange(half, device=positions.device) - low) / (high - low)).clamp(0, 1)
    inv_freq = ramp / (shape.rope_scaling_factor * freq) + (1 - ramp) / freq
    concentration = 0.1 * math.log(shape.rope_scaling_factor) + 1.0
    angle = positions.float()[..., None] * inv_freq
    return (angle.cos() * concentration).bfloat16(), (angle.sin() * concentration).bfloat16()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half-split rotation of x [B, T, H, D] by tables [B, T, D / 2]."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def mxfp4_scale(weight: Tensor) -> Tensor:
    """Power-of-two scale [..., in / 32] of each block of 32 along the last axis, the smallest without saturation."""
    amax = weight.unflatten(-1, (-1, 32)).abs().amax(-1)
    return torch.exp2(torch.ceil(torch.log2(amax.clamp_min(2.0**-120) / 6.0)))


def mxfp4_round(weight: Tensor) -> Tensor:
    """`weight` rounded to the MXFP4 grid (blocks along the last axis), same shape and dtype."""
    blocks = weight.unflatten(-1, (-1, 32))
    scale = mxfp4_scale(weight)[..., None]
    x = blocks / scale
    step = torch.where(x.abs() < 2.0, 0.5, torch.where(x.abs() < 4.0, 1.0, 2.0))
    return ((x / step).round() * step * scale).flatten(-2)


def straight_through(weight: Tensor) -> Tensor:
    """MXFP4 values forward, identity gradient."""
    return weight + (mxfp4_round(weight) - weight).detach()


def rms_norm(x: Tensor, scale: Tensor) -> Tensor:
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-5) * scale).to(x.dtype)


class Block(nn.Module):
    """Attention and experts of one layer. Parameter names follow the original checkpoint."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        s = self.shape = shape
        d, inner, e = s.hidden_size, s.intermediate_size, s.num_experts
        width, kv = s.num_attention_heads * s.head_dim, s.num_key_value_heads * s.head_dim
        out_scale = (2 * s.num_hidden_layers) ** -0.5
        self.sliding = layer % 2 == 0

        def normal(*size: int, std: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*size) * std)

        self.attn_norm = nn.Parameter(torch.ones(d))
        self.qkv = normal(width + 2 * kv, d, std=d**-0.5)
        self.qkv_bias = nn.Parameter(torch.zeros(width + 2 * kv))
        self.sinks = nn.Parameter(torch.zeros(s.num_attention_heads))
        self.out = normal(d, width, std=width**-0.5 * out_scale)
        self.out_bias = nn.Parameter(torch.zeros(d))
        self.mlp_norm = nn.Parameter(torch.ones(d))
        self.gate = normal(e, d, std=d**-0.5)
        self.gate_bias = nn.Parameter(torch.zeros(e))
        self.mlp1 = normal(e, 2 * inner, d, std=d**-0.5)
        self.mlp1_bias = nn.Parameter(torch.zeros(e, 2 * inner))
        self.mlp2 = normal(e, d, inner, std=inner**-0.5 * out_scale)
        self.mlp2_bias = nn.Parameter(torch.zeros(e, d))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: BlockMask) -> tuple[Tensor, Tensor]:
        """x [B, T, d] -> x, and the router's mean probability of each expert [E]."""
        x = x + self.attention(rms_norm(x, self.attn_norm), cos, sin, mask)
        y, load = self.experts(rms_norm(x, self.mlp_norm))
        return x + y, load

    def attention(self, t: Tensor, cos: Tensor, sin: Tensor, mask: BlockMask) -> Tensor:
        s = self.shape
        b, n, _ = t.shape
        width, kv = s.num_attention_heads * s.head_dim, s.num_key_value_heads * s.head_dim
        q, k, v = F.linear(t, self.qkv.to(t.dtype), self.qkv_bias.to(t.dtype)).split((width, kv, kv), dim=-1)
        q = rotate(q.view(b, n, -1, s.head_dim), cos, sin).transpose(1, 2)
        k = rotate(k.view(b, n, -1, s.head_dim), cos, sin).transpose(1, 2)
        v = v.view(b, n, -1, s.head_dim).transpose(1, 2)
        o, lse = flex_attention(q, k, v, block_mask=mask, enable_gqa=True, return_lse=True)
        # A sink is one more logit in the softmax's denominator: sum / (sum + e^sink) = sigmoid(lse - sink).
        o = o * torch.sigmoid(lse - self.sinks[None, :, None]).to(o.dtype)[..., None]
        return F.linear(o.transpose(1, 2).reshape(b, n, width), self.out.to(t.dtype), self.out_bias.to(t.dtype))

    def experts(self, t: Tensor) -> tuple[Tensor, Tensor]:
        s = self.shape
        b, n, d = t.shape
        e, inner = s.num_experts, s.intermediate_size
        flat = t.reshape(b * n, d)
        logits = F.linear(flat, self.gate.to(t.dtype), self.gate_bias.to(t.dtype)).float()
        top, chosen = logits.topk(s.experts_per_token, dim=-1)
        weight = torch.zeros_like(logits).scatter(-1, chosen, top.softmax(-1)).to(t.dtype)  # [BT, E]
        w1 = straight_through(self.mlp1).to(t.dtype).reshape(e * 2 * inner, d)
        h = F.linear(flat, w1, self.mlp1_bias.to(t.dtype).reshape(-1)).view(b * n, e, inner, 2)
        gate, up = h.unbind(-1)
        gate, up = gate.clamp(max=s.swiglu_limit), up.clamp(-s.swiglu_limit, s.swiglu_limit)
        a = gate * torch.sigmoid(1.702 * gate) * (up + 1)
        a = (a * weight[..., None]).reshape(b * n, e * inner)
        w2 = straight_through(self.mlp2).to(t.dtype).transpose(0, 1).reshape(d, e * inner)
        y = F.linear(a, w2) + weight @ self.mlp2_bias.to(t.dtype)
        return y.view(b, n, d), logits.softmax(-1).mean(0)


class Vocabulary(nn.Module):
    """Token rows: a fixed code of the token's stem, learned rows for its flags, and a learned delta for common tokens.

    The code makes a word recognisable that training never showed: copying it is the same operation as copying any
    other. Rows are shared by input and output. Ids that nobody writes share one output row with their number as
    multiplicity.
    """

    def __init__(self, shape: Shape, stem: Tensor, flags: Tensor, common: Tensor, spoken: Tensor) -> None:
        """stem, flags [V]; common: ids with a learned delta; spoken [V] bool: ids that can be an output."""
        super().__init__()
        d, v = shape.hidden_size, shape.vocab_size
        index = torch.full((v,), len(common), dtype=torch.long)
        index[common] = torch.arange(len(common))
        self.register_buffer("code", torch.from_numpy(code_rows(stem.numpy(), d)), persistent=False)  # int8 [V, d]
        self.register_buffer("stem", stem, persistent=False)
        self.register_buffer("flags", flags.long(), persistent=False)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("common", common.long(), persistent=False)
        is_rare = spoken.clone()
        is_rare[common] = False
        self.register_buffer("is_rare", is_rare, persistent=False)
        self.register_buffer("rare", is_rare.nonzero().squeeze(1), persistent=False)
        self.num_unused = int((~spoken).sum())
        self.flag_rows = nn.Parameter(torch.randn(NUM_FLAGS, d) * 0.3)
        delta = torch.randn(len(common) + 1, d) * 0.1
        delta[-1] = 0.0  # what ids without a learned row look up
        self.delta = nn.Parameter(delta)
        self.unused = nn.Parameter(torch.zeros(d))

    def rows(self, ids: Tensor) -> Tensor:
        """[...] ids -> [..., d] float32."""
        index = self.index[ids]
        delta = F.embedding(index, self.delta) * (index < len(self.common))[..., None]
        # As a product: the gradient of an index with 65,000 hits on 16 rows would be summed one by one.
        flags = F.one_hot(self.flags[ids], NUM_FLAGS).to(self.flag_rows.dtype) @ self.flag_rows
        return self.code[ids].float() * CODE_SCALE + flags + delta

    def candidates(self, present: Tensor, slots: int) -> tuple[Tensor, Tensor]:
        """Output ids of one step [common + slots] and the log multiplicity of their rows and the unused one [.. + 1].

        All common ids, then the rare ids among `present`, then random rare ids that stand for all other rare ones.
        """
        present = present.unique()
        here = present[self.is_rare[present]][: slots // 2]
        drawn = self.rare[torch.randperm(len(self.rare), device=present.device)[:slots]]
        drawn = drawn[~torch.isin(drawn, here)][: slots - len(here)]
        bias = torch.zeros(len(self.common) + slots + 1, device=present.device)
        bias[len(self.common) + len(here) :] = math.log((len(self.rare) - len(here)) / len(drawn))
        bias[-1] = math.log(self.num_unused)
        return torch.cat((self.common, here, drawn)), bias


class Nano(nn.Module):
    def __init__(self, shape: Shape, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.shape = shape
        self.vocabulary = vocabulary
        self.blocks = nn.ModuleList(Block(shape, i) for i in range(shape.num_hidden_layers))
        # Rows have an rms of about 1, so that logits start near 1 and can reach 20 at this scale.
        self.norm = nn.Parameter(torch.full((shape.hidden_size,), 0.05))

    def hidden(self, ids: Tensor, positions: Tensor, sliding: BlockMask, full: BlockMask) -> tuple[Tensor, Tensor]:
        """ids, positions [B, T] -> final normalised hidden [B, T, d] and the load-balance loss."""
        cos, sin = rope_tables(self.shape, positions)
        x = self.vocabulary.rows(ids).bfloat16()
        balance = x.new_zeros((), dtype=torch.float32)
        for block in self.blocks:
            x, load = block(x, cos, sin, sliding if block.sliding else full)
            balance = balance + self.shape.num_experts * load.square().sum()
        return rms_norm(x, self.norm), balance / len(self.blocks)
