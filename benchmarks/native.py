"""Measure the CPU engine on a checkpoint: bytes per second of each product and step, and tokens per second.

    gptoss-tui models random --like gpt-oss-20b --layers 4 DIRECTORY    (or any other checkpoint)
    python benchmarks/native.py DIRECTORY [--dense exact] [--prompt 512] [--tokens 32] [--threads 2]

Bandwidth is that of plain reads of the same weights, in the same run. Times are the best of several: on a shared
machine, the mean depends on what else is running. `--effect TEXTFILE` instead compares 8-bit layers with float32 on
that text.
"""

from __future__ import annotations

import argparse
import ctypes
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gptoss_tui.engine.native.backend import NativeBackend, load_backend
from gptoss_tui.engine.native.library import BLOCK, Matrix, load_library
from gptoss_tui.engine.planning.machine import usable_processors
from gptoss_tui.engine.types import Dense, EngineSpec, Finished, SamplingParams

READ_BYTES = 256 << 20
REPEAT_BYTES = 64 << 20


def main() -> None:
    """Parse, load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--dense", choices=("exact", "int8"), default="int8")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=32, help="tokens to decode")
    parser.add_argument("--threads", type=int, default=usable_processors())
    parser.add_argument("--runs", type=int, default=7, help="of each measurement; the best counts")
    parser.add_argument("--effect", type=Path, metavar="TEXTFILE", help="compare int8 with float32 on a text")
    args = parser.parse_args()
    if args.effect:
        print_effect(args.directory, args.effect, args.threads)
        return
    started = time.perf_counter()
    backend = loaded(args.directory, args.dense, args.threads, context=args.prompt + args.tokens + 64)
    decode, prefill = backend.model.kernels()
    kernels = f"decode: {decode}; prefill: {prefill}; {args.threads} threads"
    print(f"load {time.perf_counter() - started:.2f} s, {backend.info().weight_bytes / 1e9:.2f} GB, {kernels}")
    bandwidth = measure_bandwidth(backend, args.runs)
    print(f"read {bandwidth / 1e9:.1f} GB/s")
    measure_products(backend, bandwidth, args.runs)
    measure_steps(backend, args.prompt, args.tokens, bandwidth)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    backend.close()


def loaded(directory: Path, dense: Dense, threads: int, context: int, dtype: str = "bfloat16") -> NativeBackend:
    """Load the checkpoint on the CPU engine."""
    spec = EngineSpec(directory, backend="native", dtype=dtype, dense=dense, context=context, threads=threads)  # type: ignore[arg-type]
    return load_backend(spec, lambda step: None)


def best(runs: int, measure: Callable[[], float]) -> float:
    """Return the shortest time."""
    return min(measure() for _ in range(runs))


def measure_bandwidth(backend: NativeBackend, runs: int) -> float:
    """Return the bytes per second at which all threads together read the largest section of the weights."""
    weights = backend.model.weights
    unembedding = weights.unembedding
    size = load_library().gt_packed_bytes(unembedding.kind, unembedding.rows, unembedding.columns)
    size = min(size, READ_BYTES)
    return size / best(runs, lambda: load_library().gt_time_read(backend.model.handle, unembedding.data, size))


def measure_products(backend: NativeBackend, bandwidth: float, runs: int) -> None:
    """Time each matrix of a layer, repeated until it takes long enough, experts in turn; and the unembedding."""
    weights, library = backend.model.weights, load_library()
    layer = weights.layers[0]
    x = np.random.default_rng(0).normal(size=2 * max(layer.out.columns, layer.qkv.columns) + BLOCK).astype(np.float32)
    x = x[(-x.ctypes.data % 64) // 4 :]
    y = np.empty(weights.unembedding.rows, dtype=np.float32)
    named = [("qkv", layer.qkv), ("out", layer.out), ("up", layer.up), ("down", layer.down)]
    named += [("coarse", weights.coarse)] if weights.coarse.data else []
    for name, matrix in [*named, ("unembedding", weights.unembedding)]:
        size = library.gt_packed_bytes(matrix.kind, matrix.rows, matrix.columns)
        repeat = max(1, REPEAT_BYTES // size)

        def once(matrix: Matrix = matrix, repeat: int = repeat) -> float:
            passed = ctypes.byref(matrix), x.ctypes.data, y.ctypes.data, repeat
            return float(library.gt_time_product(backend.model.handle, *passed))

        speed = size * repeat / best(runs, once)
        where = "" if size * min(repeat, matrix.experts) >= REPEAT_BYTES // 2 else "  (partly from the cache)"
        print(f"{name:12s} {size / 1e6:7.1f} MB {speed / 1e9:6.1f} GB/s {speed / bandwidth:5.0%}{where}")


def step_bytes(backend: NativeBackend) -> int:
    """Bytes of weights that one token reads, without the few rows of the unembedding that are read in full."""
    config, weights, library = backend.model.config, backend.model.weights, load_library()

    def size(matrix: Matrix) -> int:
        return int(library.gt_packed_bytes(matrix.kind, matrix.rows, matrix.columns))

    total = size(weights.coarse if weights.coarse.data else weights.unembedding)
    for layer in weights.layers:
        total += size(layer.qkv) + size(layer.out) + size(layer.router)
        total += config.experts_per_token * (size(layer.up) + size(layer.down))
    return total


def measure_steps(backend: NativeBackend, prompt: int, tokens: int, bandwidth: float) -> None:
    """Time a prompt and an answer, twice: the first run reads the weights from the disk."""
    generator = np.random.default_rng(0)
    nbytes = step_bytes(backend)
    for label in ("warm-up", "measured"):
        ids = generator.integers(min(backend.model.config.vocab_size, 199_998), size=prompt).tolist()
        times = [time.perf_counter()]
        prefill = 0.0
        for event in backend.generate(ids, SamplingParams(temperature=0.0, max_tokens=tokens), lambda: False):
            times.append(time.perf_counter())
            if isinstance(event, Finished):
                prefill = event.usage.prefill_seconds
        steps = np.diff(times[-tokens - 1 : -1])
        mean, shortest = 1 / steps.mean(), 1 / steps.min()
        share = nbytes * shortest / bandwidth
        print(
            f"{label:9s} prefill {prompt / prefill:8.1f} tokens/s ({prefill:.2f} s); decode {mean:7.1f} tokens/s, best "
            f"{shortest:7.1f} ({nbytes / 1e6:.0f} MB each, {nbytes * shortest / 1e9:.1f} GB/s, {share:.0%})"
        )


def print_effect(directory: Path, text: Path, threads: int) -> None:
    """Print how 8-bit layers and activations change the distribution of the next token at each position of a text."""
    from gptoss_tui.harmony.tokenizer import load_tokenizer

    ids = load_tokenizer().encode(text.read_text(encoding="utf-8"))[:1024]
    rows: dict[str, list[np.ndarray]] = {}
    for name, dense, dtype in (
        ("float32", "exact", "float32"),
        ("exact", "exact", "bfloat16"),
        ("int8", "int8", "bfloat16"),
    ):
        backend = loaded(directory, dense, threads, len(ids) + 1, dtype)  # type: ignore[arg-type]
        rows[name] = []
        for token in ids:
            backend.model.run(backend._cache, [token])
            rows[name].append(backend.model.all_logits() - np.float32(backend.model.log_total()))
        backend.close()
    for name in ("exact", "int8"):
        pairs = list(zip(rows["float32"], rows[name], strict=True))
        divergence = [float((np.exp(p) * (p - q)).sum()) for p, q in pairs]
        same = np.mean([p.argmax() == q.argmax() for p, q in pairs])
        losses = [
            -np.mean([row[token] for row, token in zip(rows[n], ids[1:], strict=False)]) for n in ("float32", name)
        ]
        print(
            f"{name}: {len(ids)} positions, mean KL {np.mean(divergence):.5f}, 99th percentile "
            f"{np.percentile(divergence, 99):.4f}, same best token {same:.1%}, loss {losses[0]:.4f} -> {losses[1]:.4f}"
        )


if __name__ == "__main__":
    main()
