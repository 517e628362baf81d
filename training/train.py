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

from gptoss_tui.harmony.tokenizer import load_tokenizer
from training.export import load_compact, save_compact
from training.feed import Feed, Row
from training.model import Nano, Shape, Vocabulary
from training.optimiser import Muon
from training.validate import Case, misses, summary
from training.vocab import common_ids, spoken_ids, stems_and_flags

ROW_TOKENS = 4096
WARMUP_STEPS = 150
LOSS_CHUNK = 4096
COMPILE_STEPS = 10
REPORT_STEPS = 200


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


def masks(doc: Tensor, pos: Tensor, window: int) -> tuple[BlockMask, BlockMask]:
    """Sliding and full attention masks: causal, own conversation or preamble, sliding also by position."""

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
    sliding, full = masks(batch.doc, batch.pos, model.shape.sliding_window)
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
    tokenizer = load_tokenizer()
    counts = np.load(args.counts).astype(np.int64)
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
    return model, Muon(matrices, lr=args.lr_muon, weight_decay=args.weight_decay), adam


def average_gradients(model: Nano, world: int) -> None:
    """Mean of every rank's gradients, in place."""
    if world == 1:
        return
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat, op=dist.ReduceOp.AVG)
    at = 0
    for g in grads:
        g.copy_(flat[at : at + g.numel()].view_as(g))
        at += g.numel()


@dataclass(frozen=True, slots=True)
class Host:
    """This process among those of the run."""

    rank: int
    world: int
    device: torch.device

    def say(self, text: str) -> None:
        if self.rank == 0:
            print(text, flush=True)


class Clock:
    """Share of the time budget that is over, the same on every rank; starts after the first compiled steps."""

    def __init__(self, host: Host, minutes: float) -> None:
        self.host, self.seconds = host, 60 * minutes
        self.started = time.monotonic()
        self.shared = torch.zeros(1, device=host.device)
        self.elapsed = 0.0

    def tick(self, step: int) -> None:
        if step == COMPILE_STEPS:
            torch.cuda.synchronize()
            self.started = time.monotonic()
        if step % 10 == 0:
            self.shared.fill_((time.monotonic() - self.started) / self.seconds)
            if self.host.world > 1:
                dist.broadcast(self.shared, 0)
            self.elapsed = float(self.shared)


class Trainer:
    """Model, optimisers and rows of one rank."""

    def __init__(self, args: argparse.Namespace, host: Host, rows: Rows) -> None:
        self.args, self.host, self.rows = args, host, rows
        self.model, self.muon, self.adam = build(args, host.device)
        self.slots = args.candidates - 1 - len(self.model.vocabulary.common)
        self.step = 0

    def update(self, elapsed: float) -> Tensor:
        """One step; the loss stays on the device."""
        if len(self.rows.fresh) < 4 * self.args.batch:
            self.rows.pull(2 * self.args.batch)
        loss = loss_of(self.model, self.rows.batch(self.args.batch), self.slots)
        loss.backward()
        average_gradients(self.model, self.host.world)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = learning_rate(self.step, elapsed)
        for group in self.adam.param_groups:
            group["lr"] = self.args.lr_adam * rate
        self.muon.step(rate)
        self.adam.step()
        for p in self.model.parameters():
            p.grad = None
        self.step += 1
        return loss

    def run(self) -> None:
        clock, saved, total = Clock(self.host, self.args.minutes), time.monotonic(), torch.zeros((), device="cuda")
        while clock.elapsed < 1.0:
            clock.tick(self.step)
            total += self.update(clock.elapsed).detach()
            if self.step % REPORT_STEPS == 0:
                self.report(float(total) / REPORT_STEPS, time.monotonic() - clock.started)
                total.zero_()
            if time.monotonic() - saved > self.args.save_every:
                saved = time.monotonic()
                self.save()
        self.save()

    def report(self, loss: float, seconds: float) -> None:
        """`loss` is the mean since the last report, of tokens that were new unless `fresh` is below 1."""
        tokens = (self.step - COMPILE_STEPS) * self.args.batch * ROW_TOKENS * self.host.world
        fresh = self.rows.seen / (self.step * self.args.batch)
        speed = tokens / max(seconds, 1e-9) / 1e6
        self.host.say(f"{self.step} {seconds:.0f}s loss {loss:.4f} {speed:.2f} Mtok/s fresh {fresh:.2f}")

    def save(self) -> None:
        if self.host.rank == 0:
            save_compact(self.model, Path(self.args.out) / "nano.safetensors")

    def validate(self, most_misses: int = 60) -> None:
        """Exact match on held-out prompts; the first wrong tokens go to `misses.txt`."""
        from training.data.holdout import holdout_prompts

        cases = [Case(*prompt) for prompt in holdout_prompts(self.args.holdout, 1)]
        window = self.model.shape.sliding_window
        found = misses(self.model, cases, lambda d, p: masks(d, p, window), rows=self.args.batch, length=ROW_TOKENS)
        self.host.say(summary(cases, found))
        decode = load_tokenizer().decode
        lines = [
            f"--- {m.case.skill}\nprompt: ...{decode(m.case.prompt[-60:])}\nright: {decode(m.case.expected[: m.at])}\n"
            f"wanted: {decode(m.case.expected[m.at : m.at + 8])}\ngot: {decode([m.got])}"
            for m in found
            if m is not None
        ]
        Path(self.args.out, "misses.txt").write_text("\n".join(lines[:most_misses]))


def train(args: argparse.Namespace) -> None:
    """The whole run of one rank."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    workers = args.workers or max(1, (os.cpu_count() or 2) // world - 1)
    feed = Feed(workers=workers, length=ROW_TOKENS, first_seed=args.seed * 10**9 + rank * 10**8)
    host = Host(rank, world, torch.device("cuda", rank))
    torch.cuda.set_device(host.device)
    if world > 1:
        dist.init_process_group("nccl", device_id=host.device)
    torch.set_float32_matmul_precision("high")
    cache = Path(args.compile_cache) if args.compile_cache else None
    if cache and cache.is_file():
        torch.compiler.load_cache_artifacts(cache.read_bytes())
    rows = Rows(feed, args.capacity, host.device)
    while rows.seen < 4 * args.batch:
        rows.pull(args.batch)
        time.sleep(0.05)
    trainer = Trainer(args, host, rows)
    host.say(
        f"{sum(p.numel() for p in trainer.model.parameters()) / 1e6:.1f} M parameters, {workers} x {world} workers"
    )
    trainer.run()
    if rank == 0 and args.holdout:
        trainer.validate()
    if cache and rank == 0 and (artifacts := torch.compiler.save_cache_artifacts()):
        cache.write_bytes(artifacts[0])
    feed.close()
    if world > 1:
        dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holdout", type=int, default=800, help="held-out prompts of the check at the end")
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--out", required=True, help="folder for nano.safetensors and misses.txt")
    parser.add_argument("--counts", default="training/counts.npy", help="token counts made by training.count")
    parser.add_argument("--resume", help="nano.safetensors of an earlier run")
    parser.add_argument("--compile-cache", help="file that keeps compiled kernels from run to run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16, help="rows of 4,096 tokens a step and GPU")
    parser.add_argument("--common", type=int, default=18_000, help="ids with a learned row")
    parser.add_argument("--candidates", type=int, default=24_576, help="output ids of a step, common ones included")
    parser.add_argument("--capacity", type=int, default=30_000, help="rows kept for repetition")
    parser.add_argument("--workers", type=int, default=0, help="generator processes a GPU; 0 takes all cores")
    parser.add_argument("--lr-muon", type=float, default=0.005)
    parser.add_argument("--lr-adam", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1, help="of the matrices that Muon trains")
    parser.add_argument("--save-every", type=float, default=150.0, help="seconds between checkpoints")
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
