"""Measure the torch engine on a checkpoint: load, prefill, decode.

    gptoss-tui models random --like gpt-oss-20b --layers 4 DIRECTORY    (or any other checkpoint)
    python benchmarks/torch_decode.py DIRECTORY [--prompt 1000] [--tokens 100] [--dtype bfloat16] [--threads 2]

Prompts are random ids; decoding is greedy. The best step is printed beside the mean: on a shared machine, the mean
depends on what else is running.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import torch

from gptoss_tui.engine.torch.backend import TorchBackend, load_backend
from gptoss_tui.engine.types import EngineSpec, Finished, SamplingParams, Token


def main() -> None:
    """Parse, load, run once to warm up and once to measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--prompt", type=int, default=1000, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=100, help="tokens to decode")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    started = time.perf_counter()
    spec = EngineSpec(args.directory, dtype=args.dtype, threads=args.threads)
    backend = load_backend(spec, lambda step: None)
    info = backend.info()
    print(
        f"load      {time.perf_counter() - started:8.2f} s   {info.weight_bytes / 1e6:.0f} MB, {args.threads} threads"
    )
    generator = torch.Generator().manual_seed(0)
    for label in ("warm-up", "measured"):
        prompt = torch.randint(min(info.vocab_size, 199_998), (args.prompt,), generator=generator).tolist()
        print(label)
        measure(backend, prompt, args.tokens)


def measure(backend: TorchBackend, prompt: list[int], tokens: int) -> None:
    """Run one request and print its speeds."""
    times = []
    for event in backend.generate(prompt, SamplingParams(temperature=0.0, max_tokens=tokens), lambda: False):
        if isinstance(event, Token):
            times.append(time.perf_counter())
        elif isinstance(event, Finished):
            usage = event.usage
            steps = sorted(end - start for start, end in pairwise(times))
            speed = usage.prefilled_tokens / usage.prefill_seconds
            print(f"prefill   {usage.prefill_seconds:8.2f} s   {usage.prefilled_tokens} tokens, {speed:.0f} tok/s")
            mean, median, best = sum(steps) / len(steps), steps[len(steps) // 2], steps[0]
            print(f"decode    {1 / mean:8.1f} tok/s mean   {1 / median:.1f} median   {1 / best:.1f} best step")


if __name__ == "__main__":
    main()
