"""`gptoss-tui acp`: serves the agent to an editor, over the Agent Client Protocol on stdin and stdout."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, get_args

from gptoss_tui.commands.flags import add_chat_flags, settings_from
from gptoss_tui.commands.protocol import open_stdio, run_protocol
from gptoss_tui.errors import UsageError
from gptoss_tui.settings import Mode

if TYPE_CHECKING:
    from gptoss_tui.settings import Settings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "acp",
        help="run as an agent for editors (Agent Client Protocol)",
        description="Speak the Agent Client Protocol on stdin and stdout, for an editor to start. docs/acp.md shows "
        "how to set up Zed, JetBrains and Neovim. The model is loaded on the first message.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--mode",
        choices=get_args(Mode),
        default=argparse.SUPPRESS,
        help="approval mode until the editor sets one (default: ask)",
    )
    add_chat_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the editor on stdin and stdout until it disconnects. Raises UsageError when stdin is a terminal."""
    settings = settings_from(args)
    if sys.stdin.isatty():
        raise UsageError("`gptoss-tui acp` has to be started by an editor", hint="docs/acp.md shows how to set it up")
    return run_protocol(_serve(settings))


async def _serve(settings: Settings) -> None:
    # This comes before all other imports, since they might print: stdout is reserved for the protocol.
    reader, writer = await open_stdio()
    from gptoss_tui.acp.server import serve
    from gptoss_tui.acp.transport import LineTransport
    from gptoss_tui.agent.engines import open_engine

    await serve(settings, LineTransport(reader, writer), open_engine)
