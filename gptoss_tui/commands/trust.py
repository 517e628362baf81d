"""`gptoss-tui trust`: trusts the current state of a workspace's own `.gptoss-tui.toml`, so that it can allow things."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "trust",
        help="trust the rules in a workspace's .gptoss-tui.toml",
        description="Trust the .gptoss-tui.toml of a folder as it is now, after printing what it would allow. "
        "Without trust, or once the file changes, it can only deny.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="?", default=".", metavar="DIR", help="the workspace (default: this folder)")
    parser.add_argument("--revoke", action="store_true", help="stop trusting it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trust or distrust the file. Raises UsageError when the folder or file does not exist, and PolicyError."""
    from gptoss_tui.agent.policy.book import RuleBook, describe_rule
    from gptoss_tui.errors import UsageError
    from gptoss_tui.sanitize import to_terminal_line
    from gptoss_tui.tools.workspace import open_workspace

    book = RuleBook(open_workspace(Path(args.folder)).root)
    for problem in book.problems:
        raise problem
    file = book.workspace_file
    path = to_terminal_line(str(file.path))
    if args.revoke:
        book.trust(False)
        print(f"{path} is not trusted: it can only deny.")
        return 0
    if not file.exists:
        raise UsageError(f"There is no {path}, so there is nothing to trust")
    for rule in file.written.rules:
        print(f"  {to_terminal_line(describe_rule(rule))}")
    if file.written.mode is not None:
        print(f"  start in the mode {file.written.mode}")
    book.trust()
    print(f"{path} is trusted as it is now. If it changes, trust it again.")
    return 0
