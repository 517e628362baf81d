"""`gptoss-tui models info`: shows a model's shape, files and memory plan, or what it would need if not downloaded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gptoss_tui.engine.dtype import Dtype
from gptoss_tui.errors import EngineError, ModelNotFoundError, UsageError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    from gptoss_tui.engine.catalog import PublishedModel
    from gptoss_tui.engine.checkpoint import Checkpoint
    from gptoss_tui.engine.config import ModelConfig
    from gptoss_tui.engine.planning.here import Planned


@dataclass(frozen=True, slots=True)
class Room:
    """The disk space for a model that is not completely downloaded, in bytes: how much `arrived` and what is `free`.

    `prepared` is what the CPU engine additionally stores in `cache` after the first load; None if another engine runs
    the model or the CPU engine was not built. `cache_free` is free there; None if that is the same disk.
    """

    folder: str
    arrived: int
    free: int
    prepared: int | None
    cache: str
    cache_free: int | None


def add_info(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the action. The caller sets what runs it."""
    parser = actions.add_parser(
        "info",
        help="shape, files and memory plan of a model",
        description="Show the shape, files and memory plan of a model, or what it would need if it is not downloaded.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="a model name, a checkpoint directory or a server address")
    parser.add_argument(
        "-c", "--context", type=int, metavar="N", help="tokens to plan for (default: the most that fit)"
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "metal", "native", "torch", "triton"),
        help="engine to plan for (default: the settings' one, or auto: the GPU if the model fits it, else the CPU)",
    )
    parser.add_argument("--dtype", choices=get_args(Dtype), default="bfloat16", help="precision (default: bfloat16)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def show_info(args: argparse.Namespace) -> int:
    """Print the facts about the model. Raises CheckpointError, ModelNotFoundError or UsageError."""
    from gptoss_tui.engine.catalog import published_model
    from gptoss_tui.engine.remote.address import is_address

    if is_address(args.model):
        return _show_server(args.model, args.context, as_json=args.json)
    published = published_model(args.model)
    if published is not None and installed(args.model) is None:
        return _show_published(published, args)
    checkpoint = open_model(args.model)
    planned = _planned(checkpoint.config, checkpoint.weight_bytes, args)
    if args.json:
        files = {"directory": str(checkpoint.directory), "layout": checkpoint.layout}
        _print_json(files, checkpoint.config, checkpoint.weight_bytes, planned, args.dtype)
        return 0
    for line in (*_file_lines(checkpoint), *_shape_lines(checkpoint.config), *_memory_lines(planned, args.dtype)):
        print(line)
    return 0


def installed(name: str) -> Path | None:
    """The directory of the published model `name`, which may be in the Hugging Face cache; None if not complete."""
    from gptoss_tui.engine.catalog import published_model, resolve_model

    if published_model(name) is None:
        return None
    try:
        return resolve_model(name)
    except ModelNotFoundError:
        return None


def open_model(name: str) -> Checkpoint:
    """Open the checkpoint of a model on this machine. The built-in model is unpacked first."""
    from gptoss_tui.engine.catalog import resolve_model
    from gptoss_tui.engine.checkpoint import open_checkpoint
    from gptoss_tui.engine.nano.expand import unpacked

    return open_checkpoint(unpacked(resolve_model(name)))


def _show_server(address: str, context: int | None, *, as_json: bool) -> int:
    import asyncio

    from gptoss_tui.agent.engines import ask_server
    from gptoss_tui.settings import Settings

    facts = asyncio.run(ask_server(Settings(model=address, context=context).engine_spec()))
    if as_json:
        print(json.dumps(asdict(facts), indent=2))
    else:
        print(to_terminal_line(f"server     {facts.server} at {facts.address}"))
        print(to_terminal_line(f"model      {facts.model}"))
        print(f"context    {facts.context} tokens")
        print(f"prompts    sent as {facts.talks}, {'with' if facts.key else 'without'} an API key")
    return 0


def _show_published(model: PublishedModel, args: argparse.Namespace) -> int:
    """Print the facts about a published model that is not downloaded."""
    planned = _planned(model.config, model.weight_bytes, args)
    room = _room(model, planned.backend, args.dtype)
    if args.json:
        facts = {"directory": None, "layout": None, "repository": model.repository, "licence": model.licence}
        _print_json(facts | {"disk": asdict(room)}, model.config, model.weight_bytes, planned, args.dtype)
        return 0
    lines = (*_room_lines(model, room), *_shape_lines(model.config), *_memory_lines(planned, args.dtype))
    for line in lines:
        print(line)
    return 0


def _room(model: PublishedModel, backend: str, dtype: str) -> Room:
    from gptoss_tui.engine.catalog import disk_free, installed_models, models_directory, same_disk
    from gptoss_tui.engine.native.cache_file import cache_folder
    from gptoss_tui.engine.native.weights import prepared_bytes
    from gptoss_tui.settings import load_settings

    folder, cache = models_directory() / model.name, cache_folder()
    arrived = sum(begun.size for begun in installed_models() if begun.name == model.name)
    exact = dtype == "float32" or load_settings().dense == "exact"
    try:
        prepared = prepared_bytes(model.config, "exact" if exact else "int8") if backend == "native" else None
    except EngineError:
        prepared = None
    cache_free = None if same_disk(folder, cache) else disk_free(cache)
    return Room(str(folder), arrived, disk_free(), prepared, str(cache), cache_free)


def _room_lines(model: PublishedModel, room: Room) -> Iterator[str]:
    size, missing = model.weight_bytes, max(0, model.weight_bytes - room.arrived)
    command = f"gptoss-tui models download {model.name}"
    if room.arrived:
        yield f"here       {format_bytes(room.arrived)} of {format_bytes(size)}; the rest: {command}"
    else:
        yield f"here       nothing yet: {command}"
    yield f"download   {format_bytes(missing)} from {model.repository}, licence {model.licence}"
    if room.prepared:
        yield f"prepared   {format_bytes(room.prepared)} more, which the CPU engine writes at the first load"
    beside = (room.prepared or 0) if room.cache_free is None else 0
    yield to_terminal_line(
        f"disk       {format_bytes(room.free)} free in {room.folder}: {_verdict(room, missing, beside)}"
    )
    if room.prepared and room.cache_free is not None:
        verdict = "enough" if room.prepared <= room.cache_free else "not enough: they are made again at each load"
        yield to_terminal_line(f"           {format_bytes(room.cache_free)} free in {room.cache}: {verdict}")


def _verdict(room: Room, missing: int, beside: int) -> str:
    """Whether the disk has room for the download, and `beside` it for the prepared weights."""
    if missing > room.free:
        return "not enough"
    if missing + beside > room.free:
        return "enough for the download, not for the prepared weights, which are made again at each load"
    return "enough"


def _planned(config: ModelConfig, weight_bytes: int, args: argparse.Namespace) -> Planned:
    from gptoss_tui.engine.backends import BACKENDS
    from gptoss_tui.engine.planning.here import AUTO, places_here, plan_here
    from gptoss_tui.settings import load_settings

    if args.context is not None and not 0 < args.context <= config.max_context:
        raise UsageError(f"--context must be between 1 and {config.max_context}, got {args.context}")
    settings = load_settings()
    backend = args.backend or (settings.backend if settings.backend in BACKENDS else AUTO)
    return plan_here(
        *(config, weight_bytes, args.context, args.dtype), places=places_here(backend), parked=settings.parked_bytes
    )


def _print_json(facts: dict[str, Any], config: ModelConfig, size: int, planned: Planned, dtype: str) -> None:
    """Print `facts`, followed by those that are known for every model, as JSON."""
    memory = planned.memory
    common = {
        "weight_bytes": size,
        "max_context": config.max_context,
        "config": asdict(config),
        "memory": asdict(memory)
        | {"backend": planned.backend, "dtype": dtype, "total": memory.total, "fits": memory.fits},
    }
    print(json.dumps(facts | common, indent=2))


def _file_lines(checkpoint: Checkpoint) -> Iterator[str]:
    yield f"directory  {to_terminal_line(str(checkpoint.directory))}"
    yield f"layout     {checkpoint.layout}"
    yield f"weights    {format_bytes(checkpoint.weight_bytes)}"


def _shape_lines(config: ModelConfig) -> Iterator[str]:
    yield (
        f"shape      {config.num_hidden_layers} layers, hidden {config.hidden_size}, "
        f"{config.num_experts} experts ({config.experts_per_token} a token) of {config.intermediate_size}"
    )
    yield (
        f"attention  {config.num_attention_heads} heads of {config.head_dim}, {config.num_key_value_heads} for keys "
        f"and values; every other layer sees {config.sliding_window} tokens"
    )
    yield f"vocabulary {config.vocab_size}"
    yield f"context    {config.max_context} tokens at most"


def _memory_lines(planned: Planned, dtype: str) -> Iterator[str]:
    memory = planned.memory
    if planned.skipped is not None:
        free = format_bytes(planned.skipped.available or 0)
        yield f"gpu        {free} free: too little for this model, so it runs on the CPU"
    yield f"memory     {format_bytes(memory.total)} for {memory.context} tokens in {dtype} ({planned.where})"
    weights, cache, scratch = (format_bytes(part) for part in (memory.weights, memory.kv_cache, memory.scratch))
    yield f"           weights {weights}, KV cache {cache}, scratch {scratch}"
    if memory.parked:
        yield f"           and up to {format_bytes(memory.parked)} for waiting conversations"
    if memory.available is not None:
        verdict = "fits" if memory.fits else "does not fit"
        free = format_bytes(memory.available)
        yield f"           {free} available: {verdict}; longest context {memory.largest_context}"
    else:
        yield "           the available memory is not known here"
