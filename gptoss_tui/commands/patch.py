"""`gptoss-tui patch`: applies a patch from stdin to a folder, completely or not at all, and undoes or redoes it."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from gptoss_tui.errors import PatchError, UndoError, UsageError
from gptoss_tui.sanitize import to_terminal_source, to_terminal_text

if TYPE_CHECKING:
    from gptoss_tui.patch import Plan
    from gptoss_tui.undo import Choice, UndoReport, UndoStore

_DESCRIPTION = """\
Apply the patch on stdin to DIR: all of its files, or none. If the patch is refused, nothing changes, the reason goes to
stderr and the exit code is 1. --check prints the diff instead. --undo takes the patch back; without a patch on stdin,
it takes back the latest edit in DIR, whoever made it. Files that other programs obey, such as those in .git, .bashrc
and .vscode, are only written with --protected."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "patch",
        help="check, apply, undo or redo a patch",
        description=_DESCRIPTION,
        usage="gptoss-tui patch [--check | --apply | --undo | --redo] [--protected] [--on-conflict WAY] [-C DIR]\n"
        "                        < FILE",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group()
    for action, meaning in (
        ("check", "print the diff and write nothing"),
        ("apply", "apply the patch (default)"),
        ("undo", "undo the patch, or the latest edit if stdin is empty"),
        ("redo", "redo what was undone"),
    ):
        what.add_argument(f"--{action}", dest="action", action="store_const", const=action, help=meaning)
    parser.add_argument(
        "--on-conflict",
        metavar="WAY",
        choices=("keep", "restore", "merge"),
        help="with --undo and --redo, if the same lines were changed since: `keep` the file, `restore` the wanted "
        "content, or `merge` with conflict marks (default: refuse)",
    )
    parser.add_argument(
        "--protected",
        action="store_true",
        help="also write protected files: .git, hooks, settings of shells and editors",
    )
    parser.add_argument("-C", "--workspace", metavar="DIR", type=Path, default=Path(), help="folder to work in")
    parser.set_defaults(run=run, action="apply")


def run(args: argparse.Namespace) -> int:
    """Check, apply, undo or redo the patch. Raises UsageError, PatchError or UndoError."""
    from gptoss_tui.undo import UndoStore

    root = args.workspace.expanduser()
    if not root.is_dir():
        raise UsageError(f"{args.workspace} is not a folder.", hint="Name an existing folder with -C DIR.")
    store = UndoStore(root)
    for notice in store.recover():
        _tell(notice)
    text = _read_patch(optional=args.action in ("undo", "redo"))
    if args.action in ("undo", "redo"):
        return _go_back(store, text, args)
    from gptoss_tui import patch
    from gptoss_tui.patch.protected import reason

    planned = patch.plan(patch.parse(text), root, protected=True)
    reasons = [reason(path, owner) for path, owner in planned.protected]
    for note in (*planned.notes, *reasons):
        _tell(f"note: {note}")
    if args.action == "check":
        _print_diff(planned)
        return 0
    if reasons and not args.protected:
        raise PatchError("Protected files need an approval of their own; nothing was changed.", hint="add --protected")
    store.begin(f"{_name(text)}-{time.time_ns():x}")
    store.apply(planned)
    for kind, label in planned.summary:
        print(to_terminal_text(f"{kind} {label}"))
    return 0


def _read_patch(*, optional: bool) -> str:
    """Read the patch from stdin. With `optional`, returns an empty string if stdin is a terminal. Raises PatchError."""
    if sys.stdin.isatty():
        if optional:
            return ""
        _tell("Paste the patch; Ctrl+D ends it.")
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PatchError(f"The patch is not UTF-8 text (byte {error.start}); nothing was changed.") from error


def _go_back(store: UndoStore, text: str, args: argparse.Namespace) -> int:
    from gptoss_tui.undo import Choice

    act = store.undo if args.action == "undo" else store.redo
    turn = _turn_of(store, text, undone=args.action == "redo") if text.strip() else None
    report = act(turn)
    if report.conflicts and args.on_conflict:
        report = act(report.turn, _choices(report, args.on_conflict))
    if not report.done:
        reasons = "\n".join(conflict.reason for conflict in report.conflicts)
        ways = ", ".join(f"`--on-conflict {way}`" for way in get_args(Choice))
        raise UndoError(f"Nothing was changed, because files were changed since:\n{reasons}", hint=f"choose: {ways}")
    gone = {path for path in report.restored if not os.path.lexists(store.root / path)}
    for word, paths in (("restored", report.restored), ("merged", report.merged), ("kept", report.kept)):
        for path in paths:
            print(to_terminal_text(f"{'removed' if path in gone else word} {path}"))
    return 0


def _choices(report: UndoReport, way: Choice) -> dict[str, Choice]:
    """Choose `way` for every conflict where it is possible, and otherwise `keep`, which loses nothing."""
    return {conflict.path: way if way in conflict.choices else "keep" for conflict in report.conflicts}


def _turn_of(store: UndoStore, text: str, *, undone: bool) -> str:
    """The turn of the newest application of exactly this patch. Raises UndoError when there is none."""
    name = _name(text)
    found = [turn.turn for turn in store.turns() if turn.turn.startswith(f"{name}-") and turn.undone is undone]
    if not found:
        state = "taken back" if undone else "in force"
        raise UndoError(
            f"This patch is not {state} in {store.root}; nothing was changed.",
            hint="it must be exactly a patch that `gptoss-tui patch` applied here",
        )
    return found[-1]


def _name(text: str) -> str:
    return f"patch-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _print_diff(planned: Plan) -> None:
    """Print the diff: unchanged for programs, and made safe for a terminal."""
    from gptoss_tui import patch

    diff = patch.unified_diff(planned) + "\n"
    if sys.stdout.isatty():
        sys.stdout.write(to_terminal_source(diff))
    else:
        sys.stdout.buffer.write(diff.encode("utf-8", "surrogateescape"))


def _tell(text: str) -> None:
    print(to_terminal_text(text), file=sys.stderr)
