"""`gptoss-tui models prepared`: lists and removes the weights that the CPU engine stores in its own layout."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from gptoss_tui.errors import UsageError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    from gptoss_tui.engine.native.kept import Kept


def add_prepared(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the action. The caller sets what runs it."""
    parser = actions.add_parser(
        "prepared",
        help="weights prepared for the CPU engine",
        description="Show the weights that are prepared for the CPU engine, and their size. If you remove them, they "
        "are prepared again when the model is next loaded.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--remove", metavar="NAME", help="remove those of a model, by its name in this list")
    which.add_argument("--remove-all", action="store_true", help="remove all of them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def show_prepared(args: argparse.Namespace) -> int:
    """List the prepared weights, or remove some and print how much space that freed. Raises UsageError."""
    from gptoss_tui.engine.native.kept import kept_weights

    found = kept_weights()
    removed: list[Kept] = []
    if args.remove or args.remove_all:
        removed = [kept for kept in found if args.remove_all or args.remove in (kept.name, kept.folder.name)]
        if args.remove and not removed:
            names = ", ".join(sorted({kept.name for kept in found})) or "none"
            raise UsageError(f"There are no prepared weights of {args.remove!r}", hint=f"there are: {names}")
    freed = _remove(removed)
    if args.json:
        print(json.dumps({"prepared": [_as_json(kept) for kept in kept_weights()], "freed": freed}, indent=2))
    elif removed:
        _print_freed(removed, freed)
    else:
        _print_table(found)
    return 0


def _remove(chosen: list[Kept]) -> int:
    from gptoss_tui.engine.native.kept import remove_kept

    freed = 0
    for kept in chosen:
        try:
            freed += remove_kept(kept)
        except OSError as error:
            raise UsageError(f"{kept.folder} cannot be removed: {error}") from None
    return freed


def _as_json(kept: Kept) -> dict[str, object]:
    return {
        "name": kept.name,
        "folder": str(kept.folder),
        "source": str(kept.source) if kept.source else None,
        "size": kept.nbytes,
        "source_is_gone": kept.is_orphan,
    }


def _print_freed(removed: list[Kept], freed: int) -> None:
    names = ", ".join(kept.name for kept in removed)
    print(to_terminal_line(f"removed the prepared weights of {names}: {format_bytes(freed)} freed"))


def _print_table(found: list[Kept]) -> None:
    width = max((len(to_terminal_line(kept.name)) for kept in found), default=0)
    for kept in found:
        origin = f"prepared from {kept.source}" if kept.source else f"in {kept.folder}"
        gone = ", which is gone" if kept.is_orphan and kept.source else ""
        row = f"{to_terminal_line(kept.name):<{width}}  {format_bytes(kept.nbytes):>9}  "
        print(row + to_terminal_line(origin + gone))
    if not found:
        print("nothing is prepared; the CPU engine prepares a model when it first loads it")
