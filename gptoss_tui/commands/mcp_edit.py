"""`gptoss-tui mcp add` and `mcp remove`: change one server in `mcp.json` and leave every other character as it is."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.sanitize import to_terminal_line

_NAME: Final = re.compile(r"[\w.-]+", re.ASCII)
_EMPTY: Final = '{\n  "mcpServers": {}\n}\n'
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def add_editing(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register both subcommands."""
    add = commands.add_parser(
        "add",
        help="add a server to mcp.json",
        usage="gptoss-tui mcp add NAME [--env NAME=VALUE] [--force] -- COMMAND [ARG ...]\n"
        "       gptoss-tui mcp add NAME [--header NAME=VALUE] [--force] --url URL",
        description="Add a server to mcp.json: a program to start, or the address of a streamable HTTP server. Other "
        "servers in the file stay as they are. Calls of its tools ask as always.",
        allow_abbrev=False,
        after_separator="words",
    )
    add.add_argument("name", metavar="NAME", help="a name for the server, which becomes the namespace of its tools")
    add.add_argument("--url", metavar="URL", help="the address of a server, in place of COMMAND")
    add.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable for the program; '${NAME}' as value refers to your environment (can be repeated)",
    )
    add.add_argument(
        "--header",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a header for the server; '${NAME}' as above (can be repeated)",
    )
    add.add_argument("--force", action="store_true", help="replace a server of that name")
    add.set_defaults(run=run_add)
    remove = commands.add_parser(
        "remove",
        help="remove a server from mcp.json",
        description="Remove a server from mcp.json, and its login. Other servers in the file stay as they are.",
        allow_abbrev=False,
    )
    remove.add_argument("name", metavar="NAME", help="a server in mcp.json")
    remove.set_defaults(run=run_remove)


def run_add(args: argparse.Namespace) -> int:
    """Add the server. Raises UsageError, with the file unchanged."""
    from gptoss_tui.tools.mcp.config import check_server, read_document, servers_path

    if not _NAME.fullmatch(args.name):
        raise UsageError(f"{args.name!r} is not a name for a server", hint="use letters, digits, `_`, `-` and `.`")
    entry = _entry(args)
    check_server(args.name, entry, os.environ)
    path = servers_path()
    known = (read_document(path) or {}).get("mcpServers", {})
    if args.name in known and not args.force:
        raise UsageError(f"{path} has a server {args.name!r} already", hint="replace it with --force, or remove it")
    _edit(path, lambda text: with_server(text, args.name, entry), {**known, args.name: entry})
    print(f"added {args.name} to {to_terminal_line(str(path))}; `gptoss-tui mcp` shows what it offers")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Remove the server and its login. Raises UsageError, with the file unchanged."""
    from gptoss_tui.tools.mcp.config import read_document, servers_path
    from gptoss_tui.tools.mcp.tokens import Tokens

    path = servers_path()
    known = dict((read_document(path) or {}).get("mcpServers", {}))
    if args.name not in known:
        names = ", ".join(known) or "none"
        raise UsageError(f"There is no MCP server {args.name!r}", hint=f"{path} has {names}")
    entry = known.pop(args.name)
    _edit(path, lambda text: without_server(text, args.name), known)
    if isinstance(entry, dict) and isinstance(entry.get("url"), str):
        Tokens(entry["url"]).forget()
    print(f"removed {to_terminal_line(args.name)} from {to_terminal_line(str(path))}")
    return 0


def _entry(args: argparse.Namespace) -> dict[str, Any]:
    """The server that the flags describe, as in the file."""
    if bool(args.words) == bool(args.url):
        raise UsageError(
            "A server is either a program or an address",
            hint=f"gptoss-tui mcp add {args.name} -- COMMAND ARGS..., or --url URL",
        )
    if (args.env and args.url) or (args.header and args.words):
        raise UsageError("--env is for a program, and --header is for an address")
    if args.url:
        headers = _pairs(args.header, "--header")
        return {"url": args.url, **({"headers": headers} if headers else {})}
    env = _pairs(args.env, "--env")
    command, *words = args.words
    return {"command": command, **({"args": words} if words else {}), **({"env": env} if env else {})}


def _pairs(given: list[str], flag: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError(f"{flag} needs NAME=VALUE")  # without the text, which may be a secret
    return {name: value for name, _, value in pairs}


def _edit(path: Path, change: Callable[[str], str], servers: dict[str, Any]) -> None:
    """Write the changed text if it has exactly `servers` and all else as before. Raises UsageError or GptOssError."""
    from gptoss_tui.agent.whole_file import write_whole

    old = path.read_text(encoding="utf-8") if path.exists() else _EMPTY
    text = change(old)
    if json.loads(text) != {**json.loads(old), "mcpServers": servers}:
        raise UsageError(f"{path} names something twice; nothing was changed", hint="change it in an editor")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text, mode=0o600)  # it may hold secrets
    except OSError as error:
        raise GptOssError(f"{path} cannot be written: {error.strerror}; it is as it was") from error


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of a JSON object: its name, and where it, its value and its end are in the text."""

    name: str
    start: int
    value: int
    end: int


def with_server(text: str, name: str, entry: dict[str, Any]) -> str:
    """The JSON document `text` with the server, which replaces one of the same name or comes last."""
    opening, members = _servers(text)
    value = json.dumps(entry, ensure_ascii=False)
    for member in members:
        if member.name == name:
            return text[: member.value] + value + text[member.end :]
    added = f"{json.dumps(name)}: {value}"
    if not members:
        closing = _after_space(text, opening)
        return f"{text[:opening]}\n    {added}\n  {text[closing:]}"
    last = members[-1]
    before = members[-2].end if len(members) > 1 else opening - 1
    comma = text.index(",", before, last.start) if len(members) > 1 else before
    space = text[comma + 1 : last.start] or " "
    return f"{text[: last.end]},{space}{added}{text[last.end :]}"


def without_server(text: str, name: str) -> str:
    """The JSON document `text` without the server `name`, which it has."""
    opening, members = _servers(text)
    at = next(index for index, member in enumerate(members) if member.name == name)
    if len(members) == 1:
        return text[:opening] + text[_after_space(text, members[0].end) :]
    if at == 0:
        return text[: members[0].start] + text[members[1].start :]
    return text[: members[at - 1].end] + text[members[at].end :]


def _servers(text: str) -> tuple[int, list[_Member]]:
    """Where the object `mcpServers` begins, after its brace, and its members. The text must be valid."""
    whole = _members(text, text.index("{") + 1)
    found = next(member for member in reversed(whole) if member.name == "mcpServers")
    return found.value + 1, _members(text, found.value + 1)


def _members(text: str, at: int) -> list[_Member]:
    """The members of the JSON object that begins before `at`."""
    members = []
    decoder = json.JSONDecoder()
    while text[at := _after_space(text, at)] != "}":
        start = _after_space(text, at + 1) if text[at] == "," else at
        name, end = decoder.raw_decode(text, start)
        value = _after_space(text, _after_space(text, end) + 1)
        _, at = decoder.raw_decode(text, value)
        members.append(_Member(name, start, value, at))
    return members


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None, "the pattern matches the empty string"
    return match.end()
