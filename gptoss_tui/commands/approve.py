"""The flag `--approve` of the commands that work without a person: what they allow, in the same words everywhere."""

from __future__ import annotations

import argparse

from gptoss_tui.settings import APPROVE_MODES


def add_approve_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--approve`, with the words of `APPROVE_MODES`."""
    parser.add_argument(
        "--approve",
        choices=tuple(APPROVE_MODES),
        default="none",
        help="what to allow without asking. none: only what never asks; edits: edits of files; sandboxed: also "
        "commands and Python in a sandbox; all: also commands without a sandbox, pages and MCP servers. Protected "
        "files and your own rules still ask (default: none)",
    )
