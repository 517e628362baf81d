"""What is trained is what the engine runs: same logits, through the compact file and its expansion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import training.model as model_module
from gptoss_tui.engine.nano.expand import expand
from gptoss_tui.engine.torch.backend import load_backend
from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.harmony.tokenizer import load_tokenizer
from training.export import load_compact, mxfp4_pack, save_compact
from training.model import Nano, Shape, Vocabulary, mxfp4_round
from training.vocab import common_ids, spoken_ids, stems_and_flags

SMALL = Shape(num_hidden_layers=2, hidden_size=128, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2)


def dense_attention(
    q: Tensor, k: Tensor, v: Tensor, block_mask: Tensor, enable_gqa: bool, return_lse: bool
) -> tuple[Tensor, Tensor]:
    """flex_attention's arithmetic without its kernel, which has no float32 path on a CPU. block_mask: bool [T, T]."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~block_mask, -torch.inf)
    return scores.softmax(-1) @ v, scores.logsumexp(-1)


def new_model() -> Nano:
    tokenizer = load_tokenizer()
    stem, flags = stems_and_flags(tokenizer)
    spoken = spoken_ids(tokenizer)
    counts = np.zeros(len(stem), np.int64)
    counts[:4000] = 1
    common = common_ids(counts, spoken, 4000)
    vocabulary = Vocabulary(SMALL, *(torch.from_numpy(x) for x in (stem, flags, common, spoken)))
    return Nano(SMALL, vocabulary)


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    model = new_model()
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) * 0.02
        for block in model.blocks:
            block.sinks.normal_()
    path = tmp_path_factory.mktemp("compact") / "nano.safetensors"
    save_compact(model, path)
    return path


def test_trained_logits_are_the_engines(compact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_model()
    load_compact(model, compact)
    expand(compact, tmp_path / "nano")
    backend = load_backend(EngineSpec(tmp_path / "nano", dtype="float32", context=512), lambda progress: None)
    ids = torch.randint(200, 60_000, (300,), generator=torch.Generator().manual_seed(1)).tolist()
    scored = list(backend.score(ids, 5))

    monkeypatch.setattr(model_module, "flex_attention", dense_attention)
    rows = model.vocabulary.rows
    monkeypatch.setattr(model.vocabulary, "rows", lambda ids: rows(ids).to(torch.bfloat16).float())
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)
    seen = torch.ones(300, 300, dtype=torch.bool).tril()
    window = seen & ~torch.ones(300, 300, dtype=torch.bool).tril(-SMALL.sliding_window)
    with torch.no_grad():
        hidden, _ = model.hidden(torch.tensor([ids]), torch.arange(300)[None], window, seen)  # type: ignore[arg-type]
        logits = hidden[0] @ model.vocabulary.rows(torch.arange(SMALL.vocab_size)).T
        spoken = torch.zeros(SMALL.vocab_size, dtype=torch.bool)
        spoken[model.vocabulary.common] = spoken[model.vocabulary.rare] = True
        logits[:, ~spoken] = (hidden[0] @ model.vocabulary.unused.to(torch.bfloat16).to(torch.float32))[:, None]
    expected = logits.log_softmax(-1)
    for position, score in enumerate(scored):
        for token, logprob in score.top:
            assert expected[position, token].item() == pytest.approx(logprob, abs=2e-4)


def test_what_is_packed_is_what_was_trained() -> None:
    weight = torch.randn(3, 8, 96, generator=torch.Generator().manual_seed(0))
    blocks, scales = mxfp4_pack(weight)
    values = torch.tensor([0.0, 0.5, 1, 1.5, 2, 3, 4, 6])
    table = torch.cat((values, -values))
    pairs = torch.stack((table[(blocks & 15).long()], table[(blocks >> 4).long()]), dim=-1).flatten(-2)
    unpacked = (pairs * torch.exp2(scales.float() - 127)[..., None]).flatten(-2)
    assert torch.equal(unpacked, mxfp4_round(weight))
    assert torch.equal(mxfp4_round(unpacked), unpacked)


def test_a_compact_file_can_be_trained_on(compact: Path, tmp_path: Path) -> None:
    model = new_model()
    load_compact(model, compact)
    save_compact(model, tmp_path / "again.safetensors")
    again = new_model()
    load_compact(again, tmp_path / "again.safetensors")
    for name, value in model.named_parameters():
        assert torch.allclose(value, again.get_parameter(name), atol=2e-2), name
