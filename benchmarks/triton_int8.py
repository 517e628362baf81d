"""Measure what `--dense int8` of the Triton engine changes: `python benchmarks/triton_int8.py TEXT`. Needs no GPU.

Runs the built-in model in float32 over the first 1,024 tokens of a text, with attention's projections and the
unembedding as published, and then in 8 bits with a scale for each 64 columns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from gptoss_tui.engine.catalog import resolve_model
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.nano.expand import unpacked
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.model import Transformer
from gptoss_tui.engine.torch.weights import load_weights
from gptoss_tui.engine.triton.dense import to_eight_bits
from gptoss_tui.harmony.tokenizer import load_tokenizer

LENGTH, CHUNK = 1024, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    args = parser.parse_args()
    ids = load_tokenizer().encode(args.text.read_text(encoding="utf-8"))[:LENGTH]
    checkpoint = open_checkpoint(unpacked(resolve_model("nano")))
    device = torch.device("cpu")

    def rounded(name: str) -> Tensor:
        stored = checkpoint.read(name)
        dense = name.endswith((".qkv.weight", ".out.weight")) or name == "unembedding.weight"
        return to_eight_bits(stored)[:] if dense else stored

    models, caches = [], []
    for read in (checkpoint.read, rounded):
        weights = load_weights(read, checkpoint.config, torch.float32, device)
        models.append(Transformer(checkpoint.config, weights, LENGTH))
        caches.append(KVCache(checkpoint.config, LENGTH, CHUNK, torch.float32, device))
    divergence, same, losses = [], [], [[], []]
    with torch.inference_mode():
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            rows = []
            for model, cache in zip(models, caches, strict=True):
                cache.reserve(len(chunk))
                states = model.hidden(torch.tensor(chunk), cache)
                cache.commit(chunk)
                rows.append(model.logits(states).log_softmax(-1))
            divergence.append((rows[0].exp() * (rows[0] - rows[1])).sum(-1))
            same.append(rows[0].argmax(-1) == rows[1].argmax(-1))
            following = torch.tensor(ids[start + 1 : start + 1 + len(chunk)])
            for kind, row in enumerate(rows):
                losses[kind].append(-row[torch.arange(len(following)), following])
    every, agreed = torch.cat(divergence), torch.cat(same).float().mean()
    before, after = (torch.cat(kind).mean() for kind in losses)
    print(
        f"{len(ids)} positions, mean KL {every.mean():.5f}, 99th percentile {every.quantile(0.99):.4f}, "
        f"same best token {agreed:.1%}, loss {before:.4f} -> {after:.4f}"
    )


if __name__ == "__main__":
    main()
