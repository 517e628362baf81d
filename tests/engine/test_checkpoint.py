"""Both layouts, sharded and not: what is written is read, and what is wrong is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GptOssForCausalLM, Mxfp4Config

from gptoss_tui.engine.checkpoint import (
    TensorSpec,
    open_checkpoint,
    random_checkpoint,
    tensor_table,
    write_checkpoint,
)
from gptoss_tui.engine.checkpoint.header import read_header
from gptoss_tui.engine.checkpoint.random_weights import random_tensor
from gptoss_tui.engine.config import GPT_OSS_20B, GPT_OSS_120B, Layout
from gptoss_tui.engine.torch.mxfp4 import dequantize
from gptoss_tui.errors import CheckpointError
from tests.engine.shapes import TINY

LAYOUTS: tuple[Layout, ...] = ("original", "huggingface")
SHARD_BYTES = 40_000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same random model in both layouts, in folders named after them."""
    root = tmp_path_factory.mktemp("checkpoints")
    for layout in LAYOUTS:
        random_checkpoint(TINY, root / layout, layout, seed=1)
    return root


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Callable[[Layout], Path]:
    """Copies the checkpoint of a layout to a place of the test's own."""

    def copy(layout: Layout) -> Path:
        return Path(shutil.copytree(written / layout, tmp_path / layout))

    return copy


def test_table_of_the_published_models() -> None:
    table = tensor_table(GPT_OSS_20B)
    assert len(table) == 3 + 24 * 15
    assert table["block.23.mlp.mlp1_weight.blocks"] == TensorSpec((32, 5760, 90, 16), "U8")
    assert table["block.0.mlp.mlp2_weight.scales"] == TensorSpec((32, 2880, 90), "U8")
    assert table["block.0.attn.qkv.weight"] == TensorSpec((5120, 2880), "BF16")
    assert table["block.0.attn.out.weight"] == TensorSpec((2880, 4096), "BF16")
    sizes = [sum(spec.nbytes for spec in tensor_table(config).values()) for config in (GPT_OSS_20B, GPT_OSS_120B)]
    assert sizes == [13_761_264_768, 65_248_815_744]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("max_shard_bytes", [None, SHARD_BYTES])
def test_every_tensor_comes_back(layout: Layout, max_shard_bytes: int | None, tmp_path: Path) -> None:
    random_checkpoint(TINY, tmp_path / "model", layout, seed=3, max_shard_bytes=max_shard_bytes)
    checkpoint = open_checkpoint(tmp_path / "model")
    assert (checkpoint.config, checkpoint.layout, checkpoint.directory) == (TINY, layout, tmp_path / "model")
    for name, spec in tensor_table(TINY).items():
        assert torch.equal(checkpoint.read(name), random_tensor(name, spec, seed=3)), name
    assert checkpoint.weight_bytes == sum(spec.nbytes for spec in tensor_table(TINY).values())
    files = sorted(path.name for path in (tmp_path / "model").glob("*.safetensors"))
    if max_shard_bytes is None:
        assert files == ["model.safetensors"]
    else:
        dashes = "--" if layout == "original" else "-"
        assert files == [f"model{dashes}{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)]
        assert all((tmp_path / "model" / name).stat().st_size < SHARD_BYTES + 4096 for name in files)


def test_a_layout_is_converted_by_writing_what_is_read(written: Path, tmp_path: Path) -> None:
    source = open_checkpoint(written / "huggingface")
    write_checkpoint(tmp_path / "model", source.config, source.read, "original")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (
        written / "original" / "model.safetensors"
    ).read_bytes()


def test_the_library_reads_what_is_written(written: Path) -> None:
    tensors = load_file(written / "original" / "model.safetensors")
    assert {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} == {
        name: (spec.shape, {"BF16": torch.bfloat16, "U8": torch.uint8}[spec.dtype])
        for name, spec in tensor_table(TINY).items()
    }


def test_transformers_runs_the_huggingface_layout(tmp_path: Path) -> None:
    config = replace(TINY, head_dim=64)  # its YaRN ramp needs the real head_dim
    random_checkpoint(config, tmp_path / "model", "huggingface", seed=5, max_shard_bytes=SHARD_BYTES)
    model, report = GptOssForCausalLM.from_pretrained(
        tmp_path / "model",
        dtype=torch.float32,
        quantization_config=Mxfp4Config(dequantize=True),
        output_loading_info=True,
    )
    assert not any(report.values()), report
    checkpoint = open_checkpoint(tmp_path / "model")
    name = "block.1.mlp.mlp2_weight"
    weight = dequantize(checkpoint.read(f"{name}.blocks"), checkpoint.read(f"{name}.scales"), torch.float32)
    assert torch.equal(model.model.layers[1].mlp.experts.down_proj, weight.transpose(1, 2))
    with torch.inference_mode():
        logits = model(torch.arange(40)[None]).logits
    assert 1.0 < logits.std() < 5.0
    assert logits.abs().max() < 30.0


def test_the_generation_config_ends_turns_where_the_format_does(written: Path) -> None:
    values = json.loads((written / "huggingface" / "generation_config.json").read_text())
    assert set(values["eos_token_id"]) == {199999, 200002, 200012}
    assert not (written / "original" / "generation_config.json").exists()


def test_fewer_layers_are_the_first_layers_of_the_same_model(written: Path, tmp_path: Path) -> None:
    random_checkpoint(replace(TINY, num_hidden_layers=1), tmp_path / "model", seed=1)
    short, whole = open_checkpoint(tmp_path / "model"), open_checkpoint(written / "original")
    for name in tensor_table(short.config):
        assert torch.equal(short.read(name), whole.read(name)), name


def test_another_seed_is_another_model() -> None:
    for name, spec in tensor_table(TINY).items():
        assert not torch.equal(random_tensor(name, spec, 0), random_tensor(name, spec, 1)), name


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux lists a process's mapped files there")
def test_tensors_are_mapped_not_copied(written: Path) -> None:
    checkpoint = open_checkpoint(written / "original")
    checkpoint.read("embedding.weight")
    assert "original/model.safetensors" in Path("/proc/self/maps").read_text()


def test_the_folder_original_is_found_and_the_root_comes_first(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "original", tmp_path / "original")
    (tmp_path / "config.json").write_text((written / "huggingface" / "config.json").read_text())
    assert open_checkpoint(tmp_path).directory == tmp_path / "original"
    shutil.copy(written / "huggingface" / "model.safetensors", tmp_path)
    found = open_checkpoint(tmp_path)
    assert (found.directory, found.layout) == (tmp_path, "huggingface")


def test_a_root_that_lacks_shards_gives_way_to_the_folder_original(written: Path, tmp_path: Path) -> None:
    random_checkpoint(TINY, tmp_path, "huggingface", max_shard_bytes=SHARD_BYTES)
    max(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        open_checkpoint(tmp_path)
    shutil.copytree(written / "original", tmp_path / "original")
    assert open_checkpoint(tmp_path).directory == tmp_path / "original"


def test_only_files_of_the_index_are_read(tmp_path: Path) -> None:
    random_checkpoint(TINY, tmp_path / "model", "huggingface", max_shard_bytes=SHARD_BYTES)
    save_file({"other": torch.zeros(1)}, tmp_path / "model" / "adapter.safetensors")
    assert open_checkpoint(tmp_path / "model").config == TINY


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the tensors of a safetensors file."""
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("original", "block.1.attn.sinks"),
        ("original", "unembedding.weight"),
        ("huggingface", "model.layers.2.self_attn.k_proj.bias"),
    ],
)
def test_wrong_tensors_are_named(layout: Layout, name: str, copied: Callable[[Layout], Path]) -> None:
    file = copied(layout) / "model.safetensors"
    good = file.read_bytes()
    wrong: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        (f"tensor {name} is missing", lambda tensors: tensors.pop(name)),
        (f"tensor {name}.extra in .* does not", lambda tensors: tensors.update({f"{name}.extra": torch.ones(1)})),
        (f"tensor {name} in .* has shape", lambda tensors: tensors.update({name: tensors[name][1:].clone()})),
        (f"tensor {name} in .* has dtype F32", lambda tensors: tensors.update({name: tensors[name].float()})),
    ]
    for message, edit in wrong:
        file.write_bytes(good)
        edited(file, edit)
        with pytest.raises(CheckpointError, match=message) as caught:
            open_checkpoint(file.parent)
        assert str(file.parent) in caught.value.message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_file_is_named(layout: Layout, copied: Callable[[Layout], Path]) -> None:
    file = copied(layout) / "model.safetensors"
    whole = file.read_bytes()
    for size in (0, 7, 8, 100, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            open_checkpoint(file.parent)
    file.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="too long"):
        open_checkpoint(file.parent)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": 1}',
        b'{"a": {"dtype": "U8", "shape": [1]}}',
        b'{"a": {"dtype": "U8", "shape": "x", "data_offsets": [0, 1]}}',
        b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}}',
        b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}',
        b'{"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, -1]}}',
        b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": ["0", "1"]}}',
        b"{",
        b"\xff\xfe",
    ],
)
def test_a_damaged_header_is_named(header: bytes, copied: Callable[[Layout], Path]) -> None:
    file = copied("original") / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        open_checkpoint(file.parent)


@pytest.mark.parametrize(("first", "second"), [((0, 2), (1, 3)), ((0, 1), (2, 3)), ((1, 2), (2, 3))])
def test_tensors_that_overlap_or_leave_holes_are_refused(
    first: tuple[int, int], second: tuple[int, int], tmp_path: Path
) -> None:
    entries = {
        name: {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        for name, (begin, end) in (("a", first), ("b", second))
    }
    header = json.dumps(entries).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"abc")
    with pytest.raises(CheckpointError, match=r"model\.safetensors has a damaged header"):
        read_header(file)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    random_checkpoint(TINY, tmp_path / "model", "huggingface", max_shard_bytes=SHARD_BYTES)
    shard = sorted((tmp_path / "model").glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"{shard.name} is missing"):
        open_checkpoint(tmp_path / "model")


def test_a_tensor_in_two_files_is_named(copied: Callable[[Layout], Path]) -> None:
    directory = copied("original")
    save_file({"norm.scale": torch.ones(64, dtype=torch.bfloat16)}, directory / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"tensor norm\.scale is both in"):
        open_checkpoint(directory)


@pytest.mark.parametrize("index", ["{}", "[", '{"weight_map": {"a": "../other.safetensors"}}', '{"weight_map": [1]}'])
def test_a_damaged_index_is_named(index: str, copied: Callable[[Layout], Path]) -> None:
    directory = copied("huggingface")
    (directory / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        open_checkpoint(directory)


def test_a_directory_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="is not a directory"):
        open_checkpoint(tmp_path / "none")


def test_weights_of_another_shape_than_the_config_are_refused(copied: Callable[[Layout], Path]) -> None:
    directory = copied("original")
    values = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(values | {"num_hidden_layers": 4}))
    with pytest.raises(CheckpointError, match=r"tensor block\.3\.attn\.norm\.scale is missing"):
        open_checkpoint(directory)


def test_an_existing_checkpoint_is_not_overwritten(copied: Callable[[Layout], Path]) -> None:
    directory = copied("original")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(CheckpointError, match="holds a checkpoint already"):
        random_checkpoint(TINY, directory, seed=9)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [(torch.zeros(63, dtype=torch.bfloat16), "64"), (torch.zeros(64), "float32")],
)
def test_a_tensor_to_write_of_another_shape_or_dtype_is_named(
    wrong: torch.Tensor, complaint: str, tmp_path: Path
) -> None:
    table = tensor_table(TINY)

    def read(name: str) -> torch.Tensor:
        return wrong if name == "norm.scale" else random_tensor(name, table[name], 0)

    with pytest.raises(CheckpointError, match=rf"tensor norm\.scale .*{complaint}"):
        write_checkpoint(tmp_path / "model", TINY, read)
    assert list((tmp_path / "model").iterdir()) == []


def test_writing_asks_for_each_tensor_once_and_counts_bytes(tmp_path: Path) -> None:
    table = tensor_table(TINY)
    asked: list[str] = []
    progress: list[tuple[int, int]] = []

    def read(name: str) -> torch.Tensor:
        asked.append(name)
        return random_tensor(name, table[name], 0)

    write_checkpoint(
        tmp_path / "model",
        TINY,
        read,
        "huggingface",
        max_shard_bytes=SHARD_BYTES,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    total = sum(spec.nbytes for spec in table.values())
    assert asked == list(table)
    assert progress == sorted(progress)
    assert progress[-1] == (total, total)


def test_a_checkpoint_larger_than_the_disk_is_refused_before_writing(tmp_path: Path) -> None:
    vast = replace(TINY, vocab_size=2**45)
    with pytest.raises(CheckpointError, match="nothing was written"):
        random_checkpoint(vast, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []
