"""Reads and writes the `config.json` of either checkpoint layout.

`original` is the layout of OpenAI's `original/` folder, whose config has exactly the fields of `ModelConfig`.
`huggingface` is the layout at the root of the Hugging Face repositories: its names are translated, and any other field
must agree with what the engine computes. Anything unknown is an error: a model that needs something we do not compute
would still answer, but wrongly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gptoss_tui.engine.config import FIELDS, RMS_NORM_EPS, SWIGLU_ALPHA, Layout, ModelConfig
from gptoss_tui.errors import CheckpointError

_ONLY_GPT_OSS = "only gpt-oss models in their published form can be run"
_FLOAT_FIELDS = frozenset({"swiglu_limit", "rope_theta", "rope_scaling_factor", "rope_ntk_alpha", "rope_ntk_beta"})


def read_config(path: Path) -> tuple[ModelConfig, Layout]:
    """Read the config in the file `path`; returns it with the layout of the file.

    Raises CheckpointError, naming the file and the field, if the file cannot be read, if a field is missing, unknown or
    of the wrong type, or if the engine does not support a value.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist", hint="a checkpoint needs a config.json") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    layout: Layout = "huggingface" if "model_type" in values or "architectures" in values else "original"
    try:
        found = _from_huggingface(values) if layout == "huggingface" else _from_original(values)
        return ModelConfig(**found), layout
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", hint=error.hint) from None


def write_config(config: ModelConfig, path: Path, layout: Layout) -> None:
    """Write `config` to the file `path` in the given layout; `read_config` restores it."""
    values = _to_huggingface(config) if layout == "huggingface" else asdict(config)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _from_original(values: Mapping[str, Any]) -> dict[str, Any]:
    for name in values:
        if name not in FIELDS:
            raise CheckpointError(f"unknown field {name}", hint=_ONLY_GPT_OSS)
    return {name: _number(name, values.get(name), name) for name in FIELDS}


def _number(name: str, value: Any, shown: str) -> int | float:
    """`value` as a number of the type of the field `name`; `shown` is the name of that field in the file."""
    if value is None:
        raise CheckpointError(f"field {shown} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckpointError(f"field {shown} must be a number, got {value!r}")
    if name in _FLOAT_FIELDS:
        return float(value)
    if value != int(value):
        raise CheckpointError(f"field {shown} must be a whole number, got {value!r}")
    return int(value)


# Hugging Face's names of the top-level fields that it calls differently.
_HF_NAMES = {"num_experts": "num_local_experts", "experts_per_token": "num_experts_per_tok"}
_HF_ROPE_NAMES = {
    "initial_context_length": "original_max_position_embeddings",
    "rope_scaling_factor": "factor",
    "rope_ntk_alpha": "beta_slow",
    "rope_ntk_beta": "beta_fast",
}
# Required values of these fields, if present, because the engine computes nothing else.
_HF_FIXED: Mapping[str, Any] = {
    "model_type": "gpt_oss",
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "hidden_act": "silu",
    "rms_norm_eps": RMS_NORM_EPS,
    "swiglu_alpha": SWIGLU_ALPHA,
    "tie_word_embeddings": False,
    "is_encoder_decoder": False,
}
_HF_ROPE_FIXED: Mapping[str, Any] = {
    "rope_type": "yarn",
    "truncate": False,
    "attention_factor": None,
    "mscale": None,
    "mscale_all_dim": None,
}
# Training, bookkeeping and generation defaults: nothing that affects the logits.
_HF_IGNORED = frozenset(
    {
        "_name_or_path",
        "attention_dropout",
        "bos_token_id",
        "chunk_size_feed_forward",
        "dtype",
        "eos_token_id",
        "id2label",
        "initializer_range",
        "label2id",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "pad_token_id",
        "problem_type",
        "return_dict",
        "router_aux_loss_coef",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)


def _from_huggingface(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `ModelConfig` from a Hugging Face config, after checking all other fields."""
    rest = dict(values)
    _check_fixed(rest, _HF_FIXED)
    quantization = rest.pop("quantization_config", None)
    if not isinstance(quantization, dict) or quantization.get("quant_method") != "mxfp4":
        raise CheckpointError(
            "field quantization_config.quant_method must be 'mxfp4'",
            hint="checkpoints converted to bf16 or to other quantisations are not supported; use the published one",
        )
    found = _take_rope(rest)
    for name in FIELDS:
        if name not in found:
            theirs = _HF_NAMES.get(name, name)
            found[name] = _number(name, rest.pop(theirs, None), theirs)
    _check_derived(rest, found)
    for name in rest:
        if name not in _HF_IGNORED:
            raise CheckpointError(f"unknown field {name}", hint=_ONLY_GPT_OSS)
    return found


def _take_rope(rest: dict[str, Any]) -> dict[str, Any]:
    """Take the YaRN fields out of `rest`: `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta`."""
    sections = [name for name in ("rope_parameters", "rope_scaling") if rest.get(name) is not None]
    if len(sections) != 1 or not isinstance(rest[sections[0]], dict):
        raise CheckpointError("one of the fields rope_parameters and rope_scaling must hold the YaRN settings")
    section = sections[0]
    rope = dict(rest[section])
    for name in ("rope_parameters", "rope_scaling"):
        rest.pop(name, None)
    if "rope_theta" in rope:
        rest["rope_theta"] = rope.pop("rope_theta")
    rope.setdefault("rope_type", rope.pop("type", None))
    # By default, transformers truncates the bounds of the ramp and uses no YaRN at all.
    rope.setdefault("truncate", True)
    _check_fixed(rope, _HF_ROPE_FIXED, f"{section}.")
    found = {
        name: _number(name, rope.pop(theirs, None), f"{section}.{theirs}") for name, theirs in _HF_ROPE_NAMES.items()
    }
    for name in rope:
        raise CheckpointError(f"unknown field {section}.{name}", hint=_ONLY_GPT_OSS)
    return found


def _check_fixed(values: dict[str, Any], fixed: Mapping[str, Any], prefix: str = "") -> None:
    """Remove the fields of `fixed` from `values`; any that is present must have the value that the engine computes."""
    for name, wanted in fixed.items():
        if name in values and (got := values.pop(name)) != wanted:
            raise CheckpointError(f"field {prefix}{name} must be {wanted!r}, got {got!r}", hint=_ONLY_GPT_OSS)


def _check_derived(rest: dict[str, Any], found: Mapping[str, Any]) -> None:
    """Remove fields from `rest` that repeat or follow from the fields `found`, and check their values."""
    derived: dict[str, Any] = {
        "experts_per_token": found["experts_per_token"],
        "initial_context_length": found["initial_context_length"],
        "layer_types": _layer_types(found["num_hidden_layers"]),
        "max_position_embeddings": int(found["initial_context_length"] * found["rope_scaling_factor"]),
    }
    for name, wanted in derived.items():
        if (got := rest.pop(name, None)) not in (wanted, None):
            raise CheckpointError(f"field {name} must be {wanted!r}, got {got!r}")


def _layer_types(layers: int) -> list[str]:
    return ["full_attention" if layer % 2 else "sliding_attention" for layer in range(layers)]


def _to_huggingface(config: ModelConfig) -> dict[str, Any]:
    """The fields as in the published repositories, which transformers 4.55 and later read."""
    values: dict[str, Any] = {
        _HF_NAMES.get(name, name): getattr(config, name) for name in FIELDS if name not in _HF_ROPE_NAMES
    }
    values |= {name: value for name, value in _HF_FIXED.items() if name != "swiglu_alpha"}
    values |= {
        "attention_dropout": 0.0,
        "experts_per_token": config.experts_per_token,
        "initial_context_length": config.initial_context_length,
        "layer_types": _layer_types(config.num_hidden_layers),
        "max_position_embeddings": config.max_context,
        "rope_scaling": {
            "rope_type": "yarn",
            "truncate": False,
            **{theirs: getattr(config, name) for name, theirs in _HF_ROPE_NAMES.items()},
        },
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        },
        "dtype": "bfloat16",
    }
    special = {"eos_token_id": 200002, "pad_token_id": 199999}
    # A small test vocabulary lacks these ids, and transformers rejects a padding id outside the vocabulary.
    values |= {name: token for name, token in special.items() if token < config.vocab_size}
    return dict(sorted(values.items()))
