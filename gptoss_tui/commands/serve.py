"""`gptoss-tui serve`: serves the engine over HTTP, for clients of OpenAI's API."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.commands.flags import add_model_flags, add_sampling_flags, settings_from
from gptoss_tui.commands.status_line import StatusLine
from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.effort import EFFORTS
from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.server.service import Service
    from gptoss_tui.server.toolbox import OwnTools
    from gptoss_tui.settings import Settings

KEY_VARIABLE = "GPTOSS_TUI_API_KEY"
REMOTE_SLOTS = 8
"""The maximum number of concurrent generations on a remote server, which batches or queues them itself."""
_DESCRIPTION = f"""\
Serve the model over HTTP: OpenAI's Responses, chat completions and completions. Concurrent requests take turns. To
listen beyond this machine (`--host`), set an API key in {KEY_VARIABLE} or `--api-key-file`."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "serve",
        help="serve the model over HTTP with OpenAI's API",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_address_flags(parser)
    _add_service_flags(parser)
    add_model_flags(parser)
    add_sampling_flags(parser)
    parser.set_defaults(run=run)


def _add_address_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the address and for access control."""
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="port to listen on, 0 for a free one (default: 8000)"
    )
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="file with API keys, one per line")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another host name to accept in the Host header",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin of web pages that may use the server, such as https://example.org",
    )


def _add_service_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for what is served, and how."""
    parser.add_argument(
        "--alias", action="append", default=[], metavar="NAME", help="another name that the model answers to"
    )
    parser.add_argument(
        "--max-waiting",
        type=int,
        default=64,
        metavar="N",
        help="how many requests can wait; more get a 429 (default: 64)",
    )
    parser.add_argument("--web-search", action="store_true", help="let responses search and read the web")
    parser.add_argument("--code-interpreter", action="store_true", help="let responses run Python in a sandbox")
    parser.add_argument(
        "--no-store", action="store_true", help="store no responses on disk, even if requests ask for it"
    )
    parser.add_argument("--quiet", action="store_true", help="do not log requests to stderr")
    parser.add_argument(
        "-r",
        "--reasoning-effort",
        choices=EFFORTS,
        default=argparse.SUPPRESS,
        help="how long to think if a request does not say (default: medium)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal arrives. Raises UsageError."""
    import asyncio

    from gptoss_tui.server.guard import is_loopback, rules_for
    from gptoss_tui.server.run import Address, listen, serve

    settings = settings_from(args)
    keys = read_keys(args.api_key_file)
    if not is_loopback(args.host) and not keys:
        raise UsageError(
            f"{args.host} can be reached from other machines, so the server needs an API key",
            hint=f"set {KEY_VARIABLE}, name a file with `--api-key-file`, or leave out `--host`",
        )
    _check_range("--port", args.port, 0, 65535)
    _check_range("--max-waiting", args.max_waiting, 0, 100_000)
    rules = rules_for(args.host, args.allow_host, args.allow_origin, keys)
    _log_requests(quiet=args.quiet)
    with listen(Address(args.host, args.port)) as sock:
        port = sock.getsockname()[1]
        url = f"http://{f'[{args.host}]' if ':' in args.host else args.host}:{port}"
        service = build_service(settings, args)
        asyncio.run(serve(service, rules, sock, StatusLine().load, lambda: _ready(service, url)))
    return 0


def build_service(settings: Settings, args: argparse.Namespace) -> Service:
    """Build the service that the settings and flags describe. The model is not loaded yet."""
    from gptoss_tui.agent.engines import open_engine
    from gptoss_tui.agent.factory import default_sampling
    from gptoss_tui.harmony.tokenizer import load_tokenizer
    from gptoss_tui.server.gate import Gate
    from gptoss_tui.server.host import EngineHost
    from gptoss_tui.server.names import names_of
    from gptoss_tui.server.responses.store import ResponseStore
    from gptoss_tui.server.sampling import Defaults
    from gptoss_tui.server.service import Service

    spec = settings.engine_spec()
    slots = REMOTE_SLOTS if spec.url else 1
    store = None if args.no_store else ResponseStore()
    if store is not None:
        store.tidy()
    repeated = settings.repeated_tokens if settings.runaways != "off" else 0
    return Service(
        EngineHost(open_engine(spec, slots), load_tokenizer()),
        Gate(slots, args.max_waiting),
        names_of(spec.name or settings.model, args.alias),
        Defaults(default_sampling(settings), repeated),
        settings.reasoning_effort,
        store,
        _own_tools(settings, web_search=args.web_search, code_interpreter=args.code_interpreter),
    )


def _own_tools(settings: Settings, *, web_search: bool, code_interpreter: bool) -> OwnTools:
    """The tools that the server runs itself, configured by the app's settings. Raises UsageError."""
    from gptoss_tui.agent.factory import make_browser, make_python
    from gptoss_tui.server.toolbox import OwnTools

    tools = OwnTools()
    if web_search:
        make_browser(settings)  # report missing settings now rather than to the first client
        tools.make["web_search"] = lambda: make_browser(settings)
    if code_interpreter:
        tools.make["code_interpreter"] = lambda: make_python(settings, None)
    return tools


def read_keys(path: Path | None) -> tuple[str, ...]:
    """The API keys from the environment and from a file. Raises UsageError if the file is unreadable or has none."""
    keys = [os.environ.pop(KEY_VARIABLE, "").strip()]  # removed so that child processes do not inherit it
    if path is not None:
        try:
            keys += [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: {error}") from error
        if not any(keys):
            raise UsageError(f"{path} has no key", hint="write one key per line")
    return tuple(key for key in keys if key)


def _check_range(flag: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{flag} must be between {low} and {high}, got {value}")


def _log_requests(*, quiet: bool) -> None:
    """Log each request to stderr as one line of JSON, unless `quiet`."""
    import logging

    from gptoss_tui.server.app import ACCESS_LOG

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    ACCESS_LOG.addHandler(handler)
    ACCESS_LOG.setLevel(logging.WARNING if quiet else logging.INFO)
    ACCESS_LOG.propagate = False


def _ready(service: Service, url: str) -> None:
    info = service.host.info
    assert info is not None
    print(
        to_terminal_line(f"{service.names[0]} on {info.backend}, {info.context} tokens of context: {url}/v1"),
        flush=True,
    )
