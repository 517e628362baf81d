"""`gptoss-tui bench`: measures load, first token, prefill and decode, and compares decode with the memory bandwidth."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from gptoss_tui.commands.flags import add_model_flags, settings_from
from gptoss_tui.errors import EngineError, UsageError
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    from gptoss_tui.commands.machine import Machine
    from gptoss_tui.engine.config import ModelConfig
    from gptoss_tui.engine.planning.floor import DenseBits
    from gptoss_tui.engine.types import Engine, EngineInfo, EngineSpec, Usage

PROMPT_TOKENS = (128, 1024, 4096)
MAX_TOKENS = 64

_WARM_UP_PROMPT, _WARM_UP_TOKENS = 16, 4
_ORDINARY_IDS = 100_000
"""Random prompts use ids below this, which are text tokens in every vocabulary."""


@dataclass(frozen=True, slots=True)
class Run:
    """One generation after an uncached prompt. Times are in seconds, rates in tokens per second.

    `floor_bytes` is how many bytes must be read per token halfway through the decode (None for a model on a server).
    `floor_rate` is the decode rate that the memory bandwidth allows for it, and `floor_share` is the fraction of it
    that was reached (both None when the bandwidth could not be measured).
    """

    prompt_tokens: int
    generated_tokens: int
    first_token_seconds: float
    prefill_rate: float
    decode_rate: float
    floor_bytes: int | None
    floor_rate: float | None
    floor_share: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """All measurements and where they were taken. `load_seconds` counts from the start of the worker process."""

    machine: Machine
    torch: dict[str, Any]
    model: EngineInfo
    load_seconds: float
    bandwidth: float | None
    bandwidth_method: str
    runs: tuple[Run, ...]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    default = " ".join(str(count) for count in PROMPT_TOKENS)
    parser = subparsers.add_parser(
        "bench",
        help="measure how fast a model runs on this machine",
        description="Measure load time, time to first token, prefill and decode on this machine, for prompts of "
        "several lengths, one sequence at a time, greedily. Decode is compared with the limit that memory sets: the "
        "bytes that a token must read, at this machine's read bandwidth.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--prompt-tokens", type=int, nargs="+", metavar="N", help=f"lengths of the prompts (default: {default})"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=MAX_TOKENS, metavar="N", help=f"tokens to decode (default: {MAX_TOKENS})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_model_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print the report. Raises UsageError or EngineError."""
    import asyncio

    lengths = args.prompt_tokens or list(PROMPT_TOKENS)
    if min(*lengths, args.max_tokens) < 1:
        raise UsageError("--prompt-tokens and --max-tokens must be at least 1")
    spec = settings_from(args).engine_spec()
    report = asyncio.run(_measure(spec, lengths, args.max_tokens, asked=args.prompt_tokens is not None))
    if args.json:
        print(json.dumps(asdict(report), indent=2))
    else:
        for line in describe(report):
            print(line)
    return 0


async def _measure(spec: EngineSpec, lengths: Sequence[int], max_tokens: int, *, asked: bool) -> Report:
    import asyncio

    from gptoss_tui.commands.loading import loaded_engine
    from gptoss_tui.commands.machine import describe_machine
    from gptoss_tui.engine.planning.floor import decode_bytes
    from gptoss_tui.engine.planning.probe import BANDWIDTH_METHOD, run_probe

    machine = await asyncio.to_thread(describe_machine)
    device = _memory_of(spec)
    found: dict[str, Any] = {}
    if not spec.url:
        found = await asyncio.to_thread(run_probe, bandwidth=True, device=device, threads=spec.threads)
    bandwidth: float | None = found.pop("bandwidth", None)
    machine = replace(machine, chip=found.pop("chip", machine.chip))
    started = time.perf_counter()
    async with loaded_engine(spec) as (engine, info):
        load_seconds = time.perf_counter() - started
        lengths = _fitting(lengths, max_tokens, info.context, asked=asked)
        config = None if spec.url else await asyncio.to_thread(_config, spec)
        await _generate(engine, info, _WARM_UP_PROMPT, _WARM_UP_TOKENS, 0)
        runs = []
        for number, length in enumerate(lengths, 1):
            print(f"prompt of {length} tokens", file=sys.stderr)
            first, usage = await _generate(engine, info, length, max_tokens, number)
            half = length + usage.generated_tokens // 2
            floor_bytes = None if config is None else decode_bytes(config, spec.dtype, half, _dense_of(spec, info))
            runs.append(_as_run(first, usage, floor_bytes, bandwidth))
    return Report(
        machine=machine,
        torch=found,
        model=replace(info, cached_tokens=0),
        load_seconds=load_seconds,
        bandwidth=bandwidth,
        bandwidth_method=BANDWIDTH_METHOD,
        runs=tuple(runs),
    )


def _dense_of(spec: EngineSpec, info: EngineInfo) -> DenseBits | None:
    """How the engine stores the dense layers; None means as published.

    The CPU engine uses 8 bits unless told otherwise, the Triton engine only with `--dense int8`.
    """
    from gptoss_tui.engine.planning.floor import NATIVE_INT8, TRITON_INT8

    if info.backend == "native":
        return None if spec.dense == "exact" or spec.dtype == "float32" else NATIVE_INT8
    return TRITON_INT8 if info.backend == "triton" and spec.dense == "int8" else None


def _memory_of(spec: EngineSpec) -> str:
    """The device whose memory will hold the weights, under the name that the probe uses."""
    from gptoss_tui.engine.planning.here import AUTO, fastest_backend

    backend = fastest_backend() if spec.backend == AUTO else spec.backend
    return {"metal": "metal", "triton": "cuda"}.get(backend, spec.device)


def _fitting(lengths: Sequence[int], max_tokens: int, context: int, *, asked: bool) -> list[int]:
    """The lengths that leave room for `max_tokens`. If the user `asked` for the lengths, all of them must.

    Raises UsageError.
    """
    fitting = [length for length in lengths if length + max_tokens <= context]
    if not fitting or (asked and len(fitting) < len(lengths)):
        raise UsageError(f"A prompt of {max(lengths)} and {max_tokens} more tokens exceed the context of {context}")
    return fitting


def _config(spec: EngineSpec) -> ModelConfig:
    from gptoss_tui.engine.checkpoint import open_checkpoint
    from gptoss_tui.engine.nano.expand import unpacked

    return open_checkpoint(unpacked(spec.checkpoint)).config


async def _generate(engine: Engine, info: EngineInfo, length: int, max_tokens: int, number: int) -> tuple[float, Usage]:
    """Generate after a random prompt of `length` ids. Returns the seconds to the first token, and the usage."""
    from gptoss_tui.engine.types import Finished, SamplingParams, TokenBatch

    # Prompts with different numbers differ from their first id on, so that no cached prefix is reused. On a server
    # the seed is random, because it may still have the prompts of an earlier run in its cache.
    source = random.Random(number if info.masks else None)
    prompt = [source.randrange(min(info.vocab_size, _ORDINARY_IDS)) for _ in range(length)]
    started = time.perf_counter()
    first = 0.0
    usage: Usage | None = None
    async for event in engine.generate(prompt, SamplingParams(temperature=0.0, max_tokens=max_tokens)):
        if isinstance(event, TokenBatch) and not first:
            first = time.perf_counter() - started
        if isinstance(event, Finished):
            usage = event.usage
    if usage is None:
        raise EngineError("The engine ended without saying what the generation took")
    if usage.cached_tokens:
        raise EngineError(f"The measurement is not valid: {usage.cached_tokens} tokens of its prompt were cached")
    return first, usage


def _as_run(first: float, usage: Usage, floor_bytes: int | None, bandwidth: float | None) -> Run:
    decode_rate = usage.generated_tokens / usage.decode_seconds
    return Run(
        prompt_tokens=usage.prompt_tokens,
        generated_tokens=usage.generated_tokens,
        first_token_seconds=first,
        prefill_rate=usage.prefilled_tokens / usage.prefill_seconds,
        decode_rate=decode_rate,
        floor_bytes=floor_bytes,
        floor_rate=bandwidth / floor_bytes if bandwidth and floor_bytes else None,
        floor_share=decode_rate * floor_bytes / bandwidth if bandwidth and floor_bytes else None,
    )


def describe(report: Report) -> Iterator[str]:
    """Format the report as lines of text."""
    machine, model = report.machine, report.model
    commit = f" (commit {machine.commit})" if machine.commit else ""
    torch = f", torch {report.torch.get('torch', 'unknown')}" if report.torch else ""
    yield f"gptoss-tui {machine.version}{commit}{torch}"
    memory = format_bytes(machine.memory) if machine.memory else "unknown"
    yield f"{machine.cpu}, {machine.cores} cores, {memory} of memory, {machine.system}"
    if machine.chip:
        yield machine.chip
    if report.bandwidth:
        yield f"memory reads {format_bytes(round(report.bandwidth))}/s ({report.bandwidth_method})"
    known = f", {model.dtype}, {model.num_layers} layers, {format_bytes(model.weight_bytes)} of weights"
    yield f"{model.model}: {model.backend} on {model.device}{known if model.num_layers else ''}"
    yield f"load {report.load_seconds:.2f} s"
    yield ""
    columns = ("first token", "prefill", "decode", "bytes/token", "floor")
    yield f"{'prompt':>7} {' '.join(f'{column:>12}' for column in columns)} {'reached':>8}"
    for row in report.runs:
        floor = f"{row.floor_rate:>8.1f} t/s" if row.floor_rate is not None else f"{'-':>12}"
        read = format_bytes(row.floor_bytes) if row.floor_bytes is not None else "-"
        reached = f"{row.floor_share:>8.0%}" if row.floor_share is not None else f"{'-':>8}"
        yield (
            f"{row.prompt_tokens:>7} {row.first_token_seconds:>10.3f} s {row.prefill_rate:>8.1f} t/s "
            f"{row.decode_rate:>8.1f} t/s {read:>12} {floor} {reached}"
        )
