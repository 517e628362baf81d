"""`gptoss-tui models`: lists, describes and downloads models, and creates models with random weights."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gptoss_tui.commands.models_info import add_info, installed, open_model, show_info
from gptoss_tui.commands.models_prepared import add_prepared, show_prepared
from gptoss_tui.commands.status_line import StatusLine
from gptoss_tui.engine.config import Layout
from gptoss_tui.errors import CheckpointError, UsageError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    from gptoss_tui.engine.catalog import InstalledModel
    from gptoss_tui.engine.config import ModelConfig
    from gptoss_tui.engine.download import DownloadProgress

_LAYOUTS = get_args(Layout)
_Row = tuple[str, int | None, str]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its subcommands."""
    parser = subparsers.add_parser(
        "models",
        help="list, inspect, download or generate models",
        description="List, inspect, download or generate models.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, models_action=_list, json=False)
    actions = parser.add_subparsers(dest="action", metavar="[ACTION]", help="without one: list")
    _add_list(actions)
    add_info(actions).set_defaults(run=run, models_action=show_info)
    _add_download(actions)
    _add_random(actions)
    add_prepared(actions).set_defaults(run=run, models_action=show_prepared)


def run(args: argparse.Namespace) -> int:
    """Run the parsed action. Raises CheckpointError, ModelNotFoundError, DownloadError or UsageError."""
    action: Callable[[argparse.Namespace], int] = args.models_action
    return action(args)


def _add_list(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "models on this machine, and those that can be downloaded"
    parser = actions.add_parser("list", help=about, description=f"Show the {about}.", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, models_action=_list)


def _add_download(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "download",
        help="download a model from the Hugging Face hub",
        description="Download one layout of a published model from the Hugging Face hub. An interrupted "
        "download resumes. HF_ENDPOINT, HF_TOKEN and the proxy variables are honoured; GPTOSS_MODELS_DIR sets where "
        "models are kept.",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", help="gpt-oss-20b or gpt-oss-120b")
    parser.add_argument(
        "--layout",
        choices=_LAYOUTS,
        help="layout to download (default: original, unless either one is already here)",
    )
    parser.set_defaults(run=run, models_action=_download)


def _add_random(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "write a checkpoint of random weights, for tests and benchmarks"
    parser = actions.add_parser("random", help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write it")
    parser.add_argument("--like", metavar="MODEL", required=True, help="gpt-oss-20b, gpt-oss-120b or a checkpoint")
    parser.add_argument("--layers", type=int, metavar="N", help="number of layers (default: as in the model)")
    parser.add_argument("--experts", type=int, metavar="N", help="experts per layer (default: as in the model)")
    parser.add_argument("--layout", choices=_LAYOUTS, default="original", help="layout to write (default: original)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the weights (default: 0)")
    parser.set_defaults(run=run, models_action=_random)


def _list(args: argparse.Namespace) -> int:
    from gptoss_tui.engine.catalog import PUBLISHED, installed_models, models_directory
    from gptoss_tui.engine.native.kept import kept_weights

    installed = installed_models()
    names = {model.name for model in installed}
    available = [model for model in PUBLISHED.values() if model.name not in names]
    server = _configured_server()
    prepared = sum(kept.nbytes for kept in kept_weights())
    if args.json:
        listing = {
            "models_directory": str(models_directory()),
            "installed": [_installed_json(model) for model in installed],
            "downloadable": [{"name": model.name, "size": model.weight_bytes} for model in available],
            "server": server,
            "prepared": prepared,
        }
        print(json.dumps(listing, indent=2))
        return 0
    rows: list[_Row] = [(model.name, model.size, _state(model)) for model in installed]
    rows += [(model.name, model.weight_bytes, f"gptoss-tui models download {model.name}") for model in available]
    if server:
        rows.append((server, None, f"on a server: gptoss-tui models info {server}"))
    for line in _table(rows):
        print(line)
    if prepared:
        print(f"{format_bytes(prepared)} of weights are prepared for the CPU engine: gptoss-tui models prepared")
    return 0


def _configured_server() -> str | None:
    """The server address in the settings, or None.

    Errors in the settings are ignored here; the commands that use the settings report them.
    """
    from gptoss_tui.engine.remote.address import is_address, parse_address
    from gptoss_tui.settings import load_settings

    try:
        model = load_settings().model
        if not is_address(model):
            return None
        parse_address(model)  # an invalid address is not shown, since it may contain a password
    except UsageError:
        return None
    return model


def _installed_json(model: InstalledModel) -> dict[str, Any]:
    return asdict(model) | {"directory": str(model.directory) if model.directory else None}


def _state(model: InstalledModel) -> str:
    if model.problem:
        return f"cannot be used: {model.problem}"
    return f"{model.source}: {model.directory}" if model.directory else model.source


def _table(rows: list[_Row]) -> Iterator[str]:
    width = max(len(to_terminal_line(name)) for name, _, _ in rows)
    for name, size, state in rows:
        room = "-" if size is None else format_bytes(size)
        yield f"{to_terminal_line(name):<{width}}  {room:>9}  {to_terminal_line(state)}"


def _download(args: argparse.Namespace) -> int:
    from gptoss_tui.engine.download import DEFAULT_LAYOUT, download_model

    directory = None if args.layout else installed(args.name)
    if directory is None:
        try:
            with StatusLine() as line:
                directory = download_model(
                    args.name, args.layout or DEFAULT_LAYOUT, lambda progress: line.show(_download_line(progress))
                )
        except KeyboardInterrupt:
            print("interrupted; run the same command again to resume", file=sys.stderr)
            raise
    print(to_terminal_line(str(directory)))
    return 0


def _random(args: argparse.Namespace) -> int:
    from gptoss_tui.engine.checkpoint import random_checkpoint

    config = _resized(_config_like(args.like), args.layers, args.experts)
    with StatusLine() as line:

        def report(done: int, total: int) -> None:
            line.show(f"writing {format_bytes(done)} of {format_bytes(total)}")

        random_checkpoint(config, args.directory, args.layout, args.seed, on_progress=report)
    print(to_terminal_line(str(args.directory)))
    return 0


def _config_like(name: str) -> ModelConfig:
    """The config of a published model, which need not be installed, or of any installed model."""
    from gptoss_tui.engine.catalog import published_model

    model = published_model(name)
    return model.config if model else open_model(name).config


def _resized(config: ModelConfig, layers: int | None, experts: int | None) -> ModelConfig:
    sizes = {"num_hidden_layers": layers, "num_experts": experts}
    try:
        return replace(config, **{name: size for name, size in sizes.items() if size is not None})
    except CheckpointError as error:
        raise UsageError(f"There is no such model: {error.message}") from None


def _download_line(progress: DownloadProgress) -> str:
    share = progress.done / progress.total
    sizes = f"{format_bytes(progress.done)} of {format_bytes(progress.total)}"
    return f"{progress.stage} {progress.file}: {sizes} ({share:.0%})"
