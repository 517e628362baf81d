"""Measure how busy the GPU is in steady decode: `python benchmarks/gpu_busy.py`. Needs an NVIDIA GPU with CUPTI.

Weights are random, with gpt-oss-20b's shapes. The result is the share of the time between the first and the last
kernel of a few hundred tokens in which at least one kernel ran; kernels overlap, so their intervals are merged. The
first tokens, during which the profiler starts, do not count. Exits with 1 below 97 %.

A profiler slows down what it measures, so a second result does without it: the time of steps that are replayed one
after another while the host does nothing else, compared to the engine's time per token.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from gptoss_tui.engine.triton.backend import TritonBackend, load_backend
from gptoss_tui.engine.types import EngineSpec, SamplingParams, Token

WANTED = 0.97
SKIPPED = 0.1
"""Shares of the profile's time at its beginning and its end that do not count."""


@dataclass(frozen=True, slots=True)
class Span:
    """What ran on the GPU, from `start` to `end` in microseconds."""

    name: str
    kind: str
    start: float
    end: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:gpt-oss-20b")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--drafts", action="store_true", help="as the app does by default: steps of several sizes")
    args = parser.parse_args()
    context = args.prompt_tokens + 2 * args.tokens + 64
    spec = EngineSpec(Path(args.model), backend="triton", context=context, drafts=args.drafts)
    backend = load_backend(spec, lambda progress: None)
    chance = random.Random(1)
    prompt = [chance.randrange(100_000) for _ in range(args.prompt_tokens)]
    decode(backend, prompt, args.tokens)  # compiled, captured and warm
    alone = decode(backend, prompt, args.tokens)
    steps = replayed(backend, args.tokens)
    print(
        f"a token takes {alone * 1e3:.3f} ms, a step without the host's part {steps * 1e3:.3f} ms: {steps / alone:.1%}"
    )
    spans = profiled(backend, prompt, args.tokens)
    kernels = [span for span in spans if span.kind == "kernel"]
    share = busy(kernels)
    print(f"kernels ran in {share:.2%} of {duration(kernels) / 1e3:.1f} ms, with copies {busy(spans):.2%}")
    for line in by_name(kernels):
        print(line)
    return 0 if share >= WANTED else 1


def decode(backend: TritonBackend, prompt: list[int], tokens: int) -> float:
    """Decode greedily; return the seconds per token, without the first ones."""
    generation = backend.generate(prompt, SamplingParams(temperature=0.0, max_tokens=tokens), lambda: False)
    times = [time.perf_counter() for event in generation if isinstance(event, Token)]
    steady = times[round(len(times) * SKIPPED) :]
    return (steady[-1] - steady[0]) / (len(steady) - 1)


@torch.inference_mode()
def replayed(backend: TritonBackend, tokens: int) -> float:
    """Return the seconds per step, replayed back to back at the position where the last generation ended."""
    cache = backend._cache
    cache.reserve(tokens + 1)
    backend._decoder.state.position.fill_(cache.length)
    times: list[float] = []
    for _ in range(tokens // 50):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        for _ in range(50):
            backend._steps._step(cache.length + 1, 1, choose=True)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 50 / 1e3)
    return statistics.median(times)


def profiled(backend: TritonBackend, prompt: list[int], tokens: int) -> list[Span]:
    """Profile the middle of an answer; return what ran on the GPU, in order of time."""
    with profile(activities=[ProfilerActivity.CUDA]):
        torch.zeros(1, device="cuda").item()  # the first profile of a process takes long to start
    generation = backend.generate(prompt, SamplingParams(temperature=0.0, max_tokens=tokens), lambda: False)
    while not isinstance(next(generation), Token):
        pass
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in generation:
            pass
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return steady_part(json.loads(path.read_text()))


def steady_part(trace: dict[str, list[dict[str, object]]]) -> list[Span]:
    """The spans of a trace without those at its ends, sorted by start. Raises SystemExit if there are none."""
    found = [
        Span(str(each["name"]), kind, float(str(each["ts"])), float(str(each["ts"])) + float(str(each["dur"])))
        for each in trace["traceEvents"]
        if (kind := str(each.get("cat"))) in ("kernel", "gpu_memcpy", "gpu_memset")
    ]
    if not found:
        raise SystemExit("The profile has no kernels: CUPTI is not to be had here")
    first, last = min(span.start for span in found), max(span.end for span in found)
    margin = SKIPPED * (last - first)
    inside = (span for span in found if span.start >= first + margin and span.end <= last - margin)
    return sorted(inside, key=lambda span: span.start)


def duration(spans: Sequence[Span]) -> float:
    """From the first start to the last end."""
    return max(span.end for span in spans) - spans[0].start


def busy(spans: Sequence[Span]) -> float:
    """The share of the total time that is covered by at least one of the spans, which are sorted by start."""
    covered, reached = 0.0, spans[0].start
    for span in spans:
        covered += max(0.0, span.end - max(reached, span.start))
        reached = max(reached, span.end)
    return covered / duration(spans)


def by_name(kernels: Sequence[Span]) -> Iterator[str]:
    """For each kernel: its launches, their median time, and the time from its start to that of the next kernel."""
    lengths: dict[str, list[float]] = {}
    apart: dict[str, list[float]] = {}
    for span, following in pairwise(kernels):
        name = re.sub(r"^void |[(<].*", "", span.name)
        lengths.setdefault(name, []).append(span.end - span.start)
        apart.setdefault(name, []).append(following.start - span.start)
    total = sum(map(sum, apart.values()))
    yield f"{'kernel':<32} {'launches':>8} {'runs, µs':>10} {'to next, µs':>12} {'of all':>8}"
    for name in sorted(apart, key=lambda name: -sum(apart[name])):
        run, gap = statistics.median(lengths[name]), statistics.median(apart[name])
        yield f"{name[:32]:<32} {len(apart[name]):>8} {run:>10.2f} {gap:>12.2f} {sum(apart[name]) / total:>8.1%}"


if __name__ == "__main__":
    raise SystemExit(main())
