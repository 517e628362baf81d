"""`gptoss-tui sessions`: lists, shows, exports and deletes saved conversations."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptoss_tui.errors import SessionError
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import SessionSummary
    from gptoss_tui.agent.events import Event
    from gptoss_tui.agent.session import SessionState

_FORMATS: Final = ("markdown", "json", "html")
_ID_HELP = "its id, or the beginning of it, or `last` for the newest one in the folder"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its subcommands."""
    parser = subparsers.add_parser(
        "sessions",
        help="list, show, export or delete saved conversations",
        description="List, show, export or delete saved conversations. To resume one: "
        "`gptoss-tui --resume ID`, or `gptoss-tui exec --resume ID PROMPT`.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, sessions_action=_overview, workspace="", all=False, json=False)
    actions = parser.add_subparsers(dest="action", metavar="[ACTION]", help="without one: list")
    _add_list(actions)
    _add_show(actions)
    _add_export(actions)
    _add_delete(actions)


def run(args: argparse.Namespace) -> int:
    """Run the parsed action. Raises SessionError or UsageError."""
    action: Callable[[argparse.Namespace], int] = args.sessions_action
    return action(args)


def _add_list(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "saved conversations of a folder, the newest first"
    parser = actions.add_parser("list", help=about, description=f"Show the {about}.", allow_abbrev=False)
    _add_workspace(parser)
    parser.add_argument("--all", action="store_true", help="list those of all folders")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run, sessions_action=_list)


def _add_show(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "what was said and done in a conversation"
    parser = actions.add_parser("show", help=about, description=f"Print {about}.", allow_abbrev=False)
    parser.add_argument("session", metavar="ID", help=_ID_HELP)
    _add_workspace(parser)
    parser.add_argument(
        "--json", action="store_true", help="print its events, one per line; docs/events.md describes them"
    )
    parser.set_defaults(run=run, sessions_action=_show)


def _add_export(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "write a conversation as a document"
    parser = actions.add_parser("export", help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
    parser.add_argument("session", metavar="ID", help=_ID_HELP)
    _add_workspace(parser)
    parser.add_argument(
        "--format", choices=_FORMATS, default="markdown", help="format of the document (default: markdown)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to this new file (default: stdout)")
    parser.set_defaults(run=run, sessions_action=_export)


def _add_delete(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "delete saved conversations for good"
    parser = actions.add_parser("delete", help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
    parser.add_argument("sessions", metavar="ID", nargs="+", help="an id, or the beginning of one")
    parser.set_defaults(run=run, sessions_action=_delete)


def _add_workspace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-C", "--workspace", metavar="DIR", default="", help="the folder (default: the current one)")


def _list(args: argparse.Namespace) -> int:
    _print_list(args)
    return 0


def _overview(args: argparse.Namespace) -> int:
    """Print the list, and what can be done with the sessions in it."""
    if _print_list(args):
        said = "Resume one with `gptoss-tui --resume ID`. `gptoss-tui sessions -h` shows what else you can do."
        print(said, file=sys.stderr)
    return 0


def _print_list(args: argparse.Namespace) -> bool:
    """Print the list. Returns whether there are any sessions."""
    from gptoss_tui.agent.session import sessions_directory
    from gptoss_tui.agent.sessions import list_sessions

    found = list_sessions(sessions_directory(), None if args.all else _workspace(args))
    for session in found:
        if args.json:
            print(json.dumps({**asdict(session), "path": str(session.path)}))
        else:
            print(_row(session, with_workspace=args.all))
    if not found and not args.json:
        where = "" if args.all else " of this folder; `gptoss-tui sessions list --all` shows those of others"
        print(f"There is no saved conversation{where}.", file=sys.stderr)
    return bool(found)


def _show(args: argparse.Namespace) -> int:
    state, events = _read(args)
    if args.json:
        from gptoss_tui.agent.events import to_dict

        for event in events:
            print(json.dumps(to_dict(event)))
        return 0
    _warn(state)
    print(to_terminal_text(_document(state, events, "markdown")), end="")
    return 0


def _export(args: argparse.Namespace) -> int:
    state, events = _read(args)
    _warn(state)
    document = _document(state, events, args.format)
    if args.output is None:
        print(to_terminal_text(document) if sys.stdout.isatty() else document, end="")
        return 0
    path = Path(args.output)
    try:
        # A conversation may contain secrets: only its owner may read the file, as with the session itself.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(document)
    except FileExistsError:
        raise SessionError(f"{path} already exists and was not changed", hint="choose another name") from None
    except OSError as error:
        raise SessionError(f"{path} could not be written: {error.strerror}") from error
    print(f"Written to {to_terminal_line(str(path))}", file=sys.stderr)
    return 0


def _delete(args: argparse.Namespace) -> int:
    from gptoss_tui.agent.session import sessions_directory
    from gptoss_tui.agent.sessions import LAST, delete_session, find_session
    from gptoss_tui.errors import UsageError

    if LAST in args.sessions:
        raise UsageError("Deleting is permanent, so give the id of the conversation", hint="`gptoss-tui sessions list`")
    paths = dict.fromkeys(find_session(sessions_directory(), session) for session in args.sessions)
    for path in paths:
        delete_session(path)
        print(f"Deleted {path.stem}")
    return 0


def _read(args: argparse.Namespace) -> tuple[SessionState, list[Event]]:
    """Read a session and its events, without those that were rewound. Raises SessionError or UsageError."""
    from gptoss_tui.agent.events import from_dict
    from gptoss_tui.agent.session import load_session, sessions_directory
    from gptoss_tui.agent.sessions import find_session, shown_records

    state = load_session(find_session(sessions_directory(), args.session, _workspace(args)))
    return state, [event for record in shown_records(state) if (event := from_dict(record)) is not None]


def _document(state: SessionState, events: list[Event], format_name: str) -> str:
    from gptoss_tui.agent.sessions import session_turns, shown_records, title_of
    from gptoss_tui.tui.slash.export import export

    turns = session_turns(shown_records(state))
    title = title_of(turns[0].text) if turns else state.header.id
    return export(events, format_name, title)


def _warn(state: SessionState) -> None:
    for notice in state.notices:
        print(f"note: {to_terminal_line(notice)}", file=sys.stderr)


def _workspace(args: argparse.Namespace) -> Path:
    return Path(args.workspace).expanduser().absolute().resolve()


def _row(session: SessionSummary, *, with_workspace: bool) -> str:
    when = session.updated[:16].replace("T", " ")
    turns = f"{session.turns} turn{'' if session.turns == 1 else 's'}"
    parts: list[Any] = [session.id, when, f"{turns:>9}", to_terminal_line(session.title)]
    if with_workspace:
        parts.append(f"({to_terminal_line(session.workspace)})")
    return "  ".join(parts)
