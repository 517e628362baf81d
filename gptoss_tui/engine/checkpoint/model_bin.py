"""Reads `metal/model.bin`, which OpenAI publishes for its own Metal engine, as the checkpoint it was made from.

The file has a header, a tokenizer (which we have already), the tensors that every token reads, then for each layer a
part with its experts one after the other. Tensors begin at multiples of 16 bytes, parts at multiples of 16384. Writing
the file changed three things, all of them exact, which are reverted here: the rows of q and k are interleaved for
another form of rotary positions; q is halved and k quartered (the product replaces the softmax's 1/8); and the scales
of the experts are 14 higher. The file has only the first 200014 rows of the vocabulary: those that conversations use.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gptoss_tui.engine.checkpoint.reader import Checkpoint
from gptoss_tui.engine.checkpoint.tensors import TensorSpec, tensor_table
from gptoss_tui.engine.config import RMS_NORM_EPS, ModelConfig
from gptoss_tui.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from gptoss_tui.engine.checkpoint.reader import Raw

FILE_NAME = "model.bin"
FOLDER = "metal"

_MAGIC = b"GPT-OSS v1.0\0\0\0\0"
_MODEL = UUID("df52dc86-1789-4ed0-a295-66f10508145b").bytes
_LAYOUT = UUID("229177a8-5775-4268-bfd8-d588b351c56d").bytes
_TOKENIZER = UUID("7401aded-2a95-40cb-b782-9ccebaafe72b").bytes
_HEADER = struct.Struct("<16s16s6If4I6f16s16s4I")
_PART = 16384
_TENSOR = 16
_SCALE_SHIFT = 14
_EXPERT_TENSORS = tuple(f"mlp.{part}" for part in ("mlp1_weight.blocks", "mlp1_weight.scales", "mlp1_bias")) + tuple(
    f"mlp.{part}" for part in ("mlp2_weight.blocks", "mlp2_weight.scales", "mlp2_bias")
)
_DOWNLOAD = "download the file again, or the checkpoint at the root of the repository"


@dataclass(frozen=True, slots=True)
class _Place:
    """The position of a tensor: `stride` bytes from one expert to the next, 0 for a contiguous tensor."""

    spec: TensorSpec
    offset: int
    stride: int = 0


def find_model_bin(directory: Path) -> Path | None:
    """The `model.bin` in `directory` or in its folder `metal/`, if there is one."""
    places = (directory / FILE_NAME, directory / FOLDER / FILE_NAME)
    return next((place for place in places if place.is_file()), None)


class ModelBin(Checkpoint):
    """The checkpoint in a `model.bin`. Raises CheckpointError for any other file, and for a truncated one."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                config, first = _read_header(path, file.read(_HEADER.size))
            size = path.stat().st_size
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        super().__init__(path.parent, config, "original", {})
        self.layout = "metal"
        self._path = path
        self._places, end = _places(config, first)
        if size < end:
            raise CheckpointError(f"{path} is truncated: {size} bytes, {end} expected", hint=_DOWNLOAD)

    @property
    def files(self) -> list[Path]:
        """The only file."""
        return [self._path]

    def read(self, name: str) -> torch.Tensor:
        """The canonical tensor `name` on the CPU; raises KeyError for an unknown name."""
        import torch

        raw = self.raw(name)
        tensor = torch.from_numpy(raw if raw.flags.writeable else raw.copy())
        return tensor if raw.dtype == "uint8" else tensor.view(torch.bfloat16)

    def raw(self, name: str) -> Raw:
        """Like `Checkpoint.raw`: mapped if the tensor is unchanged and contiguous, otherwise a copy."""
        import numpy as np

        place = self._places[name]
        dtype = np.dtype(np.uint8 if place.spec.dtype == "U8" else "<u2")
        if not place.stride:
            tensor = np.memmap(self._path, dtype, mode="r", offset=place.offset, shape=place.spec.shape)
            return self._half_split(tensor) if ".attn.qkv." in name else tensor
        experts, nbytes = place.spec.shape[0], place.spec.nbytes // place.spec.shape[0]
        span = np.memmap(
            self._path, np.uint8, mode="r", offset=place.offset, shape=(place.stride * (experts - 1) + nbytes,)
        )
        pieces = np.lib.stride_tricks.as_strided(span, (experts, nbytes), (place.stride, 1))
        copied: Raw = np.ascontiguousarray(pieces).view(dtype).reshape(place.spec.shape)
        if name.endswith(".scales"):
            copied -= _SCALE_SHIFT
        return copied

    def _half_split(self, tensor: Any) -> Raw:
        """q, k and v as in the other layouts: pairs half a head apart, q and k in their original size."""
        import numpy as np

        heads, kv = self.config.num_attention_heads, self.config.num_key_value_heads
        split = tensor.copy()
        turned = tensor[: (heads + kv) * self.config.head_dim]
        pairs = turned.reshape(heads + kv, self.config.head_dim // 2, 2, -1).swapaxes(1, 2)
        wide = (np.ascontiguousarray(pairs).astype(np.uint32) << 16).view(np.float32).reshape(heads + kv, -1)
        wide[:heads] *= 2.0
        wide[heads:] *= 4.0
        split[: len(turned)] = (wide.view(np.uint32) >> 16).astype(np.uint16).reshape(turned.shape)
        found: Raw = split
        return found


def _read_header(path: Path, header: bytes) -> tuple[ModelConfig, int]:
    """The model's shape, and the offset of its first tensor."""
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise CheckpointError(f"{path} is not a model.bin of gpt-oss", hint=_DOWNLOAD)
    _, model, *values = _HEADER.unpack(header)
    *numbers, layout, tokenizer, special, text, regex, tokens = values
    if (model, layout, tokenizer) != (_MODEL, _LAYOUT, _TOKENIZER):
        raise CheckpointError(f"{path} is a model.bin of an unknown kind", hint=_DOWNLOAD)
    config = _config(path, numbers, special + text)
    end = _HEADER.size + 16 * special + regex + tokens
    return config, end + -end % _PART


def _config(path: Path, numbers: list[Any], vocabulary: int) -> ModelConfig:
    context, layers, experts, active, hidden, inter, limit, dim, heads, kv, window, *floats = numbers
    theta, interpolation, offset, scale, concentration, epsilon = floats
    if not (interpolation > 0 and scale > 0 and theta > 1 and dim > 0):
        raise CheckpointError(f"{path} has invalid rotary positions", hint=_DOWNLOAD)
    initial, factor = round(context * interpolation), _plain(1 / interpolation)

    def rotations(dimension: float) -> float:
        """Rotations of a dimension within the initial context: the unit of `rope_ntk_beta` and `rope_ntk_alpha`."""
        return _plain(initial / (2 * math.pi * theta ** (dimension / (dim / 2))))

    low = -offset / scale
    known = {"rmsnorm_epsilon": (epsilon, RMS_NORM_EPS), "yarn_multiplier": (concentration, 0.1 * math.log(factor) + 1)}
    for name, (got, wanted) in known.items():
        if not math.isclose(got, wanted, rel_tol=1e-5):
            raise CheckpointError(f"{path} has {name} {got}, {wanted} expected", hint=_DOWNLOAD)
    return ModelConfig(
        num_hidden_layers=layers,
        num_experts=experts,
        experts_per_token=active,
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inter,
        swiglu_limit=limit,
        head_dim=dim,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        sliding_window=window,
        initial_context_length=initial,
        rope_theta=theta,
        rope_scaling_factor=factor,
        rope_ntk_alpha=rotations(low + 1 / scale),
        rope_ntk_beta=rotations(low),
    )


def _plain(value: float) -> float:
    """Undo the rounding of a number that went through float32 arithmetic: the originals are whole in all models."""
    return float(round(value)) if math.isclose(value, round(value), rel_tol=1e-3) else value


def _places(config: ModelConfig, first: int) -> tuple[dict[str, _Place], int]:
    """The position of every canonical tensor, and the end of the last one."""
    table = tensor_table(config)
    places: dict[str, _Place] = {}
    at = first
    for name, spec in table.items():
        if ".mlp.mlp" in name:
            continue
        # A bias directly follows its weight; everything else is padded.
        at += 0 if name.endswith(".bias") else -at % _TENSOR
        places[name] = _Place(spec, at)
        at += spec.nbytes
    for layer in range(config.num_hidden_layers):
        at += -at % _PART
        start = at
        for part in _EXPERT_TENSORS:
            spec = table[f"block.{layer}.{part}"]
            at += -at % _TENSOR
            places[f"block.{layer}.{part}"] = _Place(spec, at)
            at += spec.nbytes // config.num_experts
        stride = at - start + -(at - start) % _TENSOR
        for part in _EXPERT_TENSORS:
            place = places[f"block.{layer}.{part}"]
            places[f"block.{layer}.{part}"] = _Place(place.spec, place.offset, stride)
        at += stride * (config.num_experts - 1)
    return places, at
