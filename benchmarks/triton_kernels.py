"""Time the kernels of a decode step, one by one and together: `python benchmarks/triton_kernels.py`.

Needs an NVIDIA GPU. Weights are random, with gpt-oss-20b's shapes (`--model gpt-oss-120b` for the other's), in enough
layers to keep the caches cold. Each kernel runs once per layer in a CUDA graph, so launch overhead does not count, but
a kernel overlaps with the next launch of itself. The time of a launch is the median of the replays, divided by the
number of layers. The bytes that it must read (for one token) and the rate are printed too. At the end it is checked
that a token gets the same bits alone and in steps of several.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch

from gptoss_tui.engine.checkpoint.random_weights import random_model
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.triton.decode import MAX_TOKENS, Blocks, Decoder, DenseSizes
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.prefill import Prefill
from gptoss_tui.engine.triton.selftest import check_device
from gptoss_tui.engine.triton.steps import splits_for
from gptoss_tui.engine.triton.weights import ModelWeights, load_weights

REPLAYS = 15

# The sizes to try for each kernel: fields of `Blocks` or `DenseSizes` and their values.
TRIED: dict[str, dict[str, tuple[int, ...]]] = {
    "project_in": {"qkv_warps": (4, 8), "qkv_steps": (4, 6, 8), "qkv_registers": (104, 128, 168)},
    "attend": {"keys": (64, 128), "window_splits": (1, 2, 4), "attend_warps": (4, 8)},
    "project_out": {"out_warps": (4, 8), "out_steps": (4, 8, 16)},
    "route": {"route_block": (512, 1024, 4096), "route_warps": (4, 8)},
    "experts_up": {"up_strips": (1, 2), "up_warps": (1, 2, 4)},
    "experts_down": {"down_warps": (1, 2, 4)},
    "logits": {"head_warps": (8, 16), "head_programs": (1, 2), "head_steps": (2, 3, 4)},
}


@dataclass(frozen=True)
class Sizes:
    """The sizes of all kernels."""

    blocks: Blocks
    dense: DenseSizes

    def changed(self, values: dict[str, int]) -> Sizes:
        """Return a copy of these sizes with some changed."""
        dense = {name: value for name, value in values.items() if hasattr(self.dense, name)}
        blocks = {name: value for name, value in values.items() if name not in dense}
        return Sizes(replace(self.blocks, **blocks), replace(self.dense, **dense))


@dataclass(frozen=True)
class Model:
    """Weights, a cache with `length` tokens in it, and the config that they belong to."""

    config: ModelConfig
    weights: ModelWeights
    cache: KVCache
    length: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gpt-oss-20b")
    parser.add_argument("--layers", type=int, default=8, help="layers with weights of their own; all are timed by them")
    parser.add_argument("--context", type=int, default=512, help="tokens in the cache")
    parser.add_argument("--tune", nargs="*", metavar="KERNEL", help=f"try sizes of these kernels: {', '.join(TRIED)}")
    parser.add_argument(
        "--tokens", type=int, default=1, help="tokens of a step while sizes are tried and launches timed"
    )
    parser.add_argument("--sizes", nargs="*", default=[], metavar="FIELD=N", help="sizes other than the defaults")
    parser.add_argument("--prefill", type=int, nargs="*", default=[], metavar="TOKENS", help="also time such chunks")
    args = parser.parse_args()
    given = {name: int(value) for name, value in (pair.split("=") for pair in args.sizes)}
    sizes = Sizes(Blocks(), DenseSizes()).changed(given)
    model = make_model(args.model, args.layers, args.context)
    with torch.inference_mode():
        decoder = new_decoder(model, sizes)
        check_device(decoder, Prefill(decoder))
        fill(model.cache, model.length)
        print(
            f"{torch.cuda.get_device_name()}, {args.model}, {args.context} tokens; reads {bandwidth() / 1e12:.2f} TB/s"
        )
        for kernel in args.tune or ():
            sizes = tuned(model, kernel, sizes, args.tokens)
        report(model, sizes, args.tokens)
        compare_bits(model, sizes)
        for tokens in args.prefill:
            time_prefill(model, sizes, tokens)


def make_model(name: str, layers: int, length: int) -> Model:
    """Create a model of random weights on the GPU, with a cache of random keys and values."""
    source = random_model(name)
    config = replace(source.config, num_hidden_layers=layers)
    device = torch.device("cuda")
    with torch.inference_mode():
        weights = load_weights(source.read, config, torch.bfloat16, device)
        cache = KVCache(config, max(8192, 2 * length), 2048, torch.bfloat16, device)
        fill(cache, length)
    return Model(config, weights, cache, length)


def fill(cache: KVCache, length: int) -> None:
    """Fill the cache with random keys and values for `length` tokens."""
    cache.clear()
    for start in range(0, length, 2048):
        step = min(2048, length - start)
        cache.reserve(step)
        cache.commit([1] * step)
    for buffer in (cache._sliding, *cache._full):
        buffer.normal_()


def new_decoder(model: Model, sizes: Sizes) -> Decoder:
    """A decoder in the middle of a sequence."""
    decoder = Decoder(model.config, model.weights, model.cache, sizes.blocks, dense=sizes.dense)
    decoder.state.xs.normal_()
    decoder.scale(0, MAX_TOKENS)
    decoder.state.position.fill_(model.length - 1)
    return decoder


def kernels(decoder: Decoder, length: int, tokens: int) -> dict[str, Callable[[int], None]]:
    """Each launch of a layer, by name; the last two do not depend on the layer."""
    splits = splits_for(length, decoder.blocks.keys)
    return {
        "project_in": lambda layer: decoder.project_in(layer, tokens),
        "attend": lambda layer: decoder.attend(layer, splits, tokens),
        "project_out": lambda layer: decoder.project_out(layer, tokens),
        "route": lambda layer: decoder.route(layer, tokens),
        "experts_up": lambda layer: decoder.experts_up(layer, tokens),
        "experts_down": lambda layer: decoder.experts_down(layer, tokens),
        "logits": lambda layer: decoder.logits(tokens),
        "choose": lambda layer: decoder.choose(tokens),
    }


def needed_bytes(model: Model) -> dict[str, int]:
    """Bytes that each launch must read: weights and keys; for attention, the mean of a sliding and a full layer."""
    config, layer = model.config, model.weights.layers[0]
    share = config.experts_per_token / config.num_experts
    seen = (min(model.length, config.sliding_window) + model.length) / 2
    return {
        "project_in": layer.qkv_weight.nbytes,
        "attend": int(2 * config.kv_width * 2 * seen),
        "project_out": layer.out_weight.nbytes,
        "route": layer.gate_weight.nbytes,
        "experts_up": int(layer.mlp1.nbytes * share),
        "experts_down": int(layer.mlp2.nbytes * share),
        "logits": model.weights.unembedding.nbytes,
        "choose": 2 * 4 * config.vocab_size,
    }


def replay_time(launch: Callable[[], None]) -> float:
    """Capture what `launch` launches as a graph; return the median seconds of a replay."""
    launch()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launch()
    times = []
    for _ in range(REPLAYS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def kernel_time(decoder: Decoder, length: int, name: str, tokens: int) -> float:
    """Return the seconds of one launch, averaged over all layers in turn."""
    launch, layers = kernels(decoder, length, tokens)[name], decoder.config.num_hidden_layers
    once = name in ("logits", "choose")
    decoder.route(0, tokens)  # scores to choose experts by
    return replay_time(lambda: _drop([launch(n) for n in range(1 if once else layers)])) / (1 if once else layers)


def tuned(model: Model, kernel: str, sizes: Sizes, tokens: int) -> Sizes:
    """Return `sizes` with those sizes of `kernel` that make a step fastest; print the best five.

    The whole step is timed: since kernels overlap, the cost of one shows in no other way.
    """
    found: list[tuple[float, Sizes, str]] = []
    for values in combinations(TRIED[kernel]):
        candidate = sizes.changed(values)
        text = " ".join(f"{name}={value}" for name, value in values.items())
        try:
            found.append((step_time(model, candidate, tokens), candidate, text))
        except Exception as error:  # skip sizes that do not compile or fit
            print(f"  {kernel} {text}: {str(error).splitlines()[0][:80]}")
    found.sort(key=lambda entry: entry[0])
    for seconds, _, text in found[:5]:
        print(f"  {kernel} {text}: {seconds * 1e3:.4f} ms")
    return found[0][1]


def combinations(sizes: dict[str, tuple[int, ...]]) -> Iterator[dict[str, int]]:
    """All combinations of one value per field."""
    for values in itertools.product(*sizes.values()):
        yield dict(zip(sizes, values, strict=True))


def report(model: Model, sizes: Sizes, tokens: int) -> None:
    """Print a table of the launches, and the times of steps of the whole model."""
    decoder, needed = new_decoder(model, sizes), needed_bytes(model)
    for part in (sizes.blocks, sizes.dense):
        print(" ".join(f"{field.name}={getattr(part, field.name)}" for field in fields(part)))
    decoder.state.count.fill_(tokens)
    layers = random_model(model_name(model)).config.num_hidden_layers
    total = 0.0
    for name, nbytes in needed.items():
        seconds = kernel_time(decoder, model.length, name, tokens)
        total += seconds * (1 if name in ("logits", "choose") else layers)
        print(f"{name:>14} {seconds * 1e6:8.2f} us {nbytes / 1e6:8.1f} MB {nbytes / seconds / 1e12:6.2f} TB/s")
    print(f"sum of the launches {total * 1e3:.3f} ms")
    for several in (1, 2, 4, 8):
        seconds = step_time(model, sizes, several)
        print(f"a step of {layers} layers, {several} tokens: {seconds * 1e3:.3f} ms, {several / seconds:.0f} tok/s")


def step_time(model: Model, sizes: Sizes, tokens: int) -> float:
    """Return the seconds of a step of the whole model in which all drafts are real."""
    decoder = new_decoder(model, sizes)
    layers = random_model(model_name(model)).config.num_hidden_layers
    splits = splits_for(model.length, decoder.blocks.keys)

    def step() -> None:
        decoder.state.xs.normal_()
        decoder.state.count.fill_(tokens)
        decoder.state.position.fill_(model.length - 1)
        decoder.scale(0, tokens)
        for index in range(layers):
            decoder.layer(index % model.config.num_hidden_layers, splits, tokens)
        decoder.logits(tokens)
        decoder.choose(tokens)
        if tokens > 1:
            decoder.draft()

    return replay_time(step)


def compare_bits(model: Model, sizes: Sizes) -> None:
    """Whether a token gets the same logits, bit for bit, alone and in steps of 2, 4 and 8."""
    decoder = new_decoder(model, sizes)
    state = decoder.state
    ids = torch.randint(model.config.vocab_size, (8,), device="cuda")
    splits = splits_for(model.length, decoder.blocks.keys)
    rows: dict[int, list[torch.Tensor]] = {}
    model.cache.reserve(8)
    for tokens in (1, 2, 4, 8):
        rows[tokens] = []
        for start in range(0, 8, tokens):
            state.position.fill_(model.length + start)
            state.count.fill_(tokens)
            state.xs[:tokens] = model.weights.embedding[ids[start : start + tokens]]
            decoder.layers(splits, tokens)
            decoder.logits(tokens)
            rows[tokens] += list(state.all_logits[:tokens].clone())
    for tokens in (2, 4, 8):
        same = sum(torch.equal(one, other) for one, other in zip(rows[1], rows[tokens], strict=True))
        print(f"steps of {tokens}: {same} of 8 tokens have the bits that they have alone")


def model_name(model: Model) -> str:
    """The published model that has this many experts."""
    return "gpt-oss-20b" if model.config.num_experts == 32 else "gpt-oss-120b"


def time_prefill(model: Model, sizes: Sizes, tokens: int) -> None:
    """Time one chunk from an empty cache, without a graph, as the engine runs it."""
    cache = model.cache
    cache.clear()
    decoder = new_decoder(model, sizes)
    prefill = Prefill(decoder)
    ids = torch.randint(model.config.vocab_size, (tokens,), device="cuda")
    cache.reserve(tokens)
    decoder.state.position.zero_()
    layers = random_model(model_name(model)).config.num_hidden_layers
    times = []
    for _ in range(5):
        torch.cuda.synchronize()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        prefill.run(ids)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    seconds = statistics.median(times[1:]) * layers / model.config.num_hidden_layers
    print(f"prefill of {tokens}: {seconds * 1e3:.1f} ms for {layers} layers, {tokens / seconds:.0f} tok/s")


def _drop(value: object) -> None:
    """Drop the result: a launch has none."""


def bandwidth() -> float:
    """Return the bytes per second of a sum over 4 GB."""
    data = torch.empty(1 << 30, dtype=torch.float32, device="cuda").normal_()
    return data.nbytes / replay_time(lambda: _drop(torch.sum(data)))


if __name__ == "__main__":
    main()
