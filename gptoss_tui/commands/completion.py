"""`gptoss-tui completion`: prints a script with which a shell completes commands, flags and paths."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a completion script. For bash: "
        "`gptoss-tui completion bash > ~/.local/share/bash-completion/completions/gptoss-tui`",
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that will read it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script for the parser of the whole command line, which the caller passes in `args.root_parser`."""
    import shtab

    for action in _actions(args.root_parser):
        paths = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE}.get(str(action.metavar))
        if paths:
            action.complete = paths  # type: ignore[attr-defined]
    print(shtab.complete(args.root_parser, shell=args.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)
