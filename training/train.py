"""Train nano: `torchrun --nproc-per-node=N -m training.train --minutes 24 --out DIR` on one or more GPUs of one host.

Generator processes make fresh rows for as long as the run lasts; when the GPU is quicker than they are, rows are seen
again. The clock, not a step count, drives the schedule, so that a run fits its budget on any GPU.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from training.export import load_compact, save_compact
from training.feed import PADDING, Feed, Row
from training.model import Nano, Shape, Vocabulary
from training.optimiser import Muon
from training.vocab import common_ids, spoken_ids, stems_and_flags

ROW_TOKENS = 4096
WARMUP_STEPS = 150
LOSS_CHUNK = 4096


@dataclass(slots=True)
class Batch:
    """Rows on the device, all [B, T]."""

    ids: Tensor
    doc: Tensor
    pos: Tensor
    trained: Tensor


class Rows:
    """Rows on the device: fresh ones first, then old ones at random."""

    def __init__(self, feed: Feed, capacity: int, device: torch.device) -> None:
        self.feed, self.capacity, self.device = feed, capacity, device
        self.rows: list[Batch] = []
        self.fresh: list[Batch] = []
        self.seen = 0

    def pull(self, most: int) -> None:
        for row in self.feed.take(most):
            batch = _to_device(row, self.device)
            self.seen += 1
            self.fresh.append(batch)
            if len(self.rows) < self.capacity:
                self.rows.append(batch)
            else:
                self.rows[random.randrange(self.capacity)] = batch

    def batch(self, size: int) -> Batch:
        taken, self.fresh = self.fresh[:size], self.fresh[size:]
        taken += random.choices(self.rows, k=size - len(taken))
        return Batch(*(torch.stack([getattr(t, f) for t in taken]) for f in ("ids", "doc", "pos", "trained")))


def _to_device(row: Row, device: torch.device) -> Batch:
    arrays = (row.ids.astype(np.int64), row.doc.astype(np.int32), row.pos.astype(np.int32), row.trained)
    return Batch(*(torch.from_numpy(a).to(device, non_blocking=True) for a in arrays))


_block_mask = torch.compile(create_block_mask)


def masks(batch: Batch, window: int) -> tuple[BlockMask, BlockMask]:
    """Sliding and full attention masks: causal, own conversation or preamble, sliding also by position."""
    doc, pos = batch.doc, batch.pos

    def full(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & ((doc[b, q] == doc[b, k]) | (doc[b, k] == 0))

    def sliding(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        own = (doc[b, q] == doc[b, k]) | (doc[b, k] == 0)
        return (q >= k) & own & (pos[b, q] - pos[b, k] < window)

    size, length = doc.shape
    return tuple(_block_mask(m, size, None, length, length, device=doc.device) for m in (sliding, full))  # type: ignore[return-value]


def cross_entropy(hidden: Tensor, rows: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Summed loss of hidden [N, d] against output rows [C, d] with log multiplicities [C]; target -1 does not count."""
    logits = (hidden @ rows.T).float() + bias
    lse = logits.logsumexp(-1)
    loss = lse - logits.gather(1, target.clamp_min(0)[:, None]).squeeze(1) + 1e-5 * lse.square()
    return (loss * (target >= 0)).sum()


_cross_entropy = torch.compile(cross_entropy, dynamic=False)


def loss_of(model: Nano, batch: Batch, slots: int) -> Tensor:
    """Mean loss of the tokens to learn plus the router's balance term."""
    sliding, full = masks(batch, model.shape.sliding_window)
    hidden, balance = model.hidden(batch.ids, batch.pos, sliding, full)
    vocabulary = model.vocabulary
    candidates, bias = vocabulary.candidates(batch.ids.flatten(), slots)
    place = torch.full((model.shape.vocab_size,), -1, device=candidates.device)
    place[candidates] = torch.arange(len(candidates), device=candidates.device)
    places = place[batch.ids[:, 1:]]
    where = (batch.trained[:, 1:] & (places >= 0)).nonzero(as_tuple=True)
    target = places[where]
    rows = torch.cat((vocabulary.rows(candidates), vocabulary.unused[None])).bfloat16()
    padding = -len(target) % LOSS_CHUNK  # equal chunks: one compiled shape
    picked = F.pad(hidden[:, :-1][where], (0, 0, 0, padding))
    total = picked.new_zeros((), dtype=torch.float32)
    for h, t in zip(picked.split(LOSS_CHUNK), F.pad(target, (0, padding), value=-1).split(LOSS_CHUNK), strict=True):
        total = total + _cross_entropy(h, rows, bias, t)
    return total / len(target) + 0.01 * balance


def learning_rate(step: int, elapsed: float) -> float:
    """Warm-up, flat, then linear to zero over the second half of the time."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * min(1.0, max(0.0, 1.0 - elapsed) / 0.5)


def build(args: argparse.Namespace, device: torch.device) -> tuple[Nano, Muon, torch.optim.Optimizer]:
    from gptoss_tui.harmony.tokenizer import load_tokenizer  # after the feed forked: workers load their own

    tokenizer = load_tokenizer()
    counts = np.load(args.counts)
    stem, flags = stems_and_flags(tokenizer)
    spoken = spoken_ids(tokenizer) | (counts > 0)
    common = common_ids(counts, spoken, args.common)
    torch.manual_seed(args.seed)
    shape = Shape()
    vocabulary = Vocabulary(
        shape, torch.from_numpy(stem), torch.from_numpy(flags), torch.from_numpy(common), torch.from_numpy(spoken)
    )
    model = Nano(shape, vocabulary)
    if args.resume:
        load_compact(model, Path(args.resume))
    model.to(device)
    matrices = [p for b in model.blocks for n, p in b.named_parameters() if n in ("qkv", "out", "mlp1", "mlp2")]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(rest, lr=args.lr_adam, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    for block in model.blocks:
        block.compile()
    return model, Muon(matrices, lr=args.lr_muon), adam


def average_gradients(model: Nano, world: int) -> None:
    if world == 1:
        return
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat, op=dist.ReduceOp.AVG)
    at = 0
    for g in grads:
        g.copy_(flat[at : at + g.numel()].view_as(g))
        at += g.numel()


def train(args: argparse.Namespace) -> None:
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    workers = args.workers or max(1, (os.cpu_count() or 2) // world - 1)
    feed = Feed(workers=workers, length=ROW_TOKENS, first_seed=args.seed * 10**8 + rank * workers * 10**6)
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl", device_id=device)
    torch.set_float32_matmul_precision("high")
    if args.compile_cache and Path(args.compile_cache).is_file():
        torch.compiler.load_cache_artifacts(Path(args.compile_cache).read_bytes())
    model, muon, adam = build(args, device)
    rows = Rows(feed, args.capacity, device)
    while rows.seen < 4 * args.batch:
        rows.pull(args.batch)
    say = print if rank == 0 else (lambda *a, **k: None)
    say(f"parameters {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M, workers {workers} x {world}", flush=True)
    slots = args.candidates - 1 - len(model.vocabulary.common)
    clock = torch.zeros(1, device=device)
    started, step, elapsed, last, saved = time.monotonic(), 0, 0.0, 0.0, time.monotonic()
    while elapsed < 1.0:
        if step == 10:
            torch.cuda.synchronize()
            started = time.monotonic()
        if step % 10 == 0:
            clock.fill_((time.monotonic() - started) / (60 * args.minutes))
            if world > 1:
                dist.broadcast(clock, 0)
            elapsed = float(clock)
        rows.pull(2 * args.batch) if len(rows.fresh) < 4 * args.batch else None
        loss = loss_of(model, rows.batch(args.batch), slots)
        loss.backward()
        average_gradients(model, world)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = learning_rate(step, elapsed)
        for group in adam.param_groups:
            group["lr"] = args.lr_adam * rate
        muon.step(rate)
        adam.step()
        adam.zero_grad(set_to_none=True)
        for p in model.parameters():
            p.grad = None
        step += 1
        if step % 200 == 0:
            last = float(loss)
            seconds = time.monotonic() - started
            speed = (step - 10) * args.batch * ROW_TOKENS * world / max(seconds, 1e-9) / 1e6
            fresh = rows.seen / (step * args.batch)
            say(f"{step} {seconds:.0f}s loss {last:.4f} {speed:.2f} Mtok/s fresh {fresh:.2f}", flush=True)
        if rank == 0 and time.monotonic() - saved > args.save_every:
            saved = time.monotonic()
            save_compact(model, Path(args.out) / "nano.safetensors")
    if rank == 0:
        save_compact(model, Path(args.out) / "nano.safetensors")
        if args.compile_cache:
            Path(args.compile_cache).write_bytes(torch.compiler.save_cache_artifacts()[0])  # type: ignore[index]
        say(f"done: {step} steps, loss {last:.4f}", flush=True)
    feed.close()
    if world > 1:
        dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--out", required=True, help="folder for nano.safetensors and state.pt")
    parser.add_argument("--counts", default="training/counts.npy", help="token counts made by training.count")
    parser.add_argument("--resume", help="nano.safetensors of an earlier run")
    parser.add_argument("--compile-cache", help="file that keeps compiled kernels from run to run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16, help="rows of 4,096 tokens a step and GPU")
    parser.add_argument("--common", type=int, default=18_000, help="ids with a learned row")
    parser.add_argument("--candidates", type=int, default=24_576, help="output ids of a step, common ones included")
    parser.add_argument("--capacity", type=int, default=30_000, help="rows kept for repetition")
    parser.add_argument("--workers", type=int, default=0, help="generator processes a GPU; 0 takes all cores")
    parser.add_argument("--lr-muon", type=float, default=0.02)
    parser.add_argument("--lr-adam", type=float, default=3e-3)
    parser.add_argument("--save-every", type=float, default=150.0, help="seconds between checkpoints")
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
