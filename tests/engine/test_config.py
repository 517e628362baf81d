"""Reading and writing config.json in both layouts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import GptOssConfig

from gptoss_tui.engine.checkpoint.config_file import read_config, write_config
from gptoss_tui.engine.config import (
    GPT_OSS_20B,
    GPT_OSS_120B,
    ModelConfig,
)
from gptoss_tui.errors import CheckpointError
from tests.engine.shapes import TINY

LAYOUTS = ("original", "huggingface")

# As published for gpt-oss-20b, without the fields that only repeat a default of the library.
PUBLISHED_HF: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": 200002,
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "output_router_logits": False,
    "pad_token_id": 199999,
    "quantization_config": {
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"],
        "quant_method": "mxfp4",
    },
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "rope_type": "yarn",
        "truncate": False,
    },
    "rope_theta": 150000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "transformers_version": "4.55.0.dev0",
    "use_cache": True,
    "vocab_size": 201088,
}
PUBLISHED_ORIGINAL: dict[str, Any] = asdict(GPT_OSS_20B) | {"rope_theta": 150000, "rope_ntk_alpha": 1}


def saved(tmp_path: Path, values: object) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    return path


def changed(base: dict[str, Any], dotted: str, value: object) -> dict[str, Any]:
    """A copy of `base` with one field set, or removed when `value` is Ellipsis."""
    copy: dict[str, Any] = json.loads(json.dumps(base))
    *sections, name = dotted.split(".")
    target = copy
    for section in sections:
        target = target[section]
    if value is ...:
        del target[name]
    else:
        target[name] = value
    return copy


def test_published_files_of_both_layouts_say_the_same(tmp_path: Path) -> None:
    assert read_config(saved(tmp_path, PUBLISHED_HF)) == (GPT_OSS_20B, "huggingface")
    assert read_config(saved(tmp_path, PUBLISHED_ORIGINAL)) == (GPT_OSS_20B, "original")


def test_widths_of_the_published_shapes() -> None:
    assert (GPT_OSS_20B.query_width, GPT_OSS_20B.kv_width, GPT_OSS_20B.qkv_width) == (4096, 512, 5120)
    assert GPT_OSS_20B.max_context == 131072
    assert GPT_OSS_20B.heads_per_kv == 8
    assert (GPT_OSS_120B.num_hidden_layers, GPT_OSS_120B.num_experts) == (36, 128)
    assert [TINY.is_sliding(layer) for layer in range(3)] == [True, False, True]
    assert TINY.num_sliding_layers == 2


configs = st.builds(
    replace,
    st.just(GPT_OSS_20B),
    num_hidden_layers=st.integers(1, 60),
    num_experts=st.integers(4, 256),
    vocab_size=st.integers(1, 300_000),
    hidden_size=st.integers(1, 100).map(lambda blocks: 32 * blocks),
    num_attention_heads=st.integers(1, 12).map(lambda groups: 8 * groups),
    sliding_window=st.integers(1, 4096),
    swiglu_limit=st.floats(0.5, 20),
    rope_theta=st.floats(1e3, 1e7),
    rope_scaling_factor=st.sampled_from([1.0, 2.5, 32.0]),
)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(config=configs)
def test_what_is_written_is_read_back(layout: Any, config: ModelConfig, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("config") / "config.json"
    write_config(config, path, layout)
    assert read_config(path) == (config, layout)


def test_transformers_reads_what_is_written(tmp_path: Path) -> None:
    write_config(TINY, tmp_path / "config.json", "huggingface")
    theirs = GptOssConfig.from_pretrained(tmp_path)
    assert theirs.num_local_experts == TINY.num_experts
    assert theirs.num_experts_per_tok == TINY.experts_per_token
    assert theirs.layer_types == ["sliding_attention", "full_attention", "sliding_attention"]
    rope = theirs.rope_parameters
    assert (rope["rope_type"], rope["truncate"], rope["rope_theta"]) == ("yarn", False, 150000.0)
    assert (rope["factor"], rope["beta_fast"], rope["beta_slow"]) == (32.0, 32.0, 1.0)


def test_what_transformers_5_saves_is_read(tmp_path: Path) -> None:
    write_config(TINY, tmp_path / "config.json", "huggingface")
    GptOssConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert "rope_parameters" in json.loads((tmp_path / "config.json").read_text())
    assert read_config(tmp_path / "config.json")[0] == TINY


@pytest.mark.parametrize("name", [field.name for field in fields(ModelConfig)])
def test_a_missing_field_of_the_original_layout_is_named(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, changed(PUBLISHED_ORIGINAL, name, ...))
    with pytest.raises(CheckpointError, match=rf"config\.json: field {name} is missing"):
        read_config(path)


HF_NEEDED = [
    "num_hidden_layers",
    "num_local_experts",
    "num_experts_per_tok",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "swiglu_limit",
    "head_dim",
    "num_attention_heads",
    "num_key_value_heads",
    "sliding_window",
    "rope_theta",
    "rope_scaling.factor",
    "rope_scaling.beta_slow",
    "rope_scaling.beta_fast",
    "rope_scaling.original_max_position_embeddings",
]


@pytest.mark.parametrize("name", HF_NEEDED)
def test_a_missing_field_of_the_huggingface_layout_is_named(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, changed(PUBLISHED_HF, name, ...))
    with pytest.raises(CheckpointError, match=rf"config\.json: field {name} is missing"):
        read_config(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_type", "llama"),
        ("architectures", ["LlamaForCausalLM"]),
        ("attention_bias", False),
        ("hidden_act", "gelu"),
        ("rms_norm_eps", 1e-6),
        ("swiglu_alpha", 1.0),
        ("tie_word_embeddings", True),
        ("experts_per_token", 8),
        ("initial_context_length", 8192),
        ("max_position_embeddings", 4096),
        ("layer_types", ["full_attention", "sliding_attention"] * 12),
        ("layer_types", ["sliding_attention", "full_attention"] * 11),
        ("quantization_config.quant_method", "bitsandbytes"),
        ("rope_scaling.rope_type", "linear"),
        ("rope_scaling.rope_type", ...),
        ("rope_scaling.truncate", True),
        ("rope_scaling.truncate", ...),
        ("rope_scaling.attention_factor", 1.0),
        ("rope_scaling.mscale", 0.5),
        ("sliding_window", None),
        ("num_local_experts", "32"),
        ("num_local_experts", True),
        ("hidden_size", 2880.5),
        ("rope_theta", float("inf")),
    ],
)
def test_a_value_that_the_engine_does_not_compute_is_named(name: str, value: object, tmp_path: Path) -> None:
    path = saved(tmp_path, changed(PUBLISHED_HF, name, value))
    with pytest.raises(CheckpointError) as caught:
        read_config(path)
    assert name in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (PUBLISHED_ORIGINAL, "num_shared_experts"),
        (PUBLISHED_HF, "num_shared_experts"),
        (PUBLISHED_HF, "rope_scaling.short_factor"),
    ],
)
def test_an_unknown_field_is_named(base: dict[str, Any], name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, changed(base, name, 1))
    with pytest.raises(CheckpointError, match=rf"config\.json: unknown field {name}"):
        read_config(path)


@pytest.mark.parametrize("section", ["quantization_config", "rope_scaling"])
def test_a_missing_section_is_named(section: str, tmp_path: Path) -> None:
    path = saved(tmp_path, changed(PUBLISHED_HF, section, ...))
    with pytest.raises(CheckpointError, match=section):
        read_config(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 0),
        ("swiglu_limit", -1.0),
        ("experts_per_token", 33),
        ("num_key_value_heads", 7),
        ("head_dim", 63),
        ("hidden_size", 2881),
        ("intermediate_size", 16),
        ("rope_ntk_alpha", 32.0),
        ("rope_scaling_factor", 0.5),
    ],
)
def test_a_shape_that_cannot_be_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    path = saved(tmp_path, PUBLISHED_ORIGINAL | {field: value})
    with pytest.raises(CheckpointError, match=r"config\.json: ") as caught:
        read_config(path)
    assert str(value) in caught.value.message


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff", "null"])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json does not exist"):
        read_config(tmp_path / "config.json")


def test_the_module_does_not_import_torch() -> None:
    code = "import sys, gptoss_tui.engine.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
