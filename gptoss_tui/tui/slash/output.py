"""Commands that take text out of the conversation: export and copy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.slash.export import FORMATS, export
from gptoss_tui.tui.slash.registry import Argument, Command, Value

if TYPE_CHECKING:
    from gptoss_tui.tui.slash.port import SlashPort
    from gptoss_tui.tui.slash.record import Record

_SUFFIXES = {".md": "markdown", ".markdown": "markdown", ".json": "json", ".html": "html", ".htm": "html"}


async def _export(port: SlashPort, argument: str) -> None:
    record = port.record()
    if record.is_empty:
        port.say("info", "There is nothing to export yet.")
        return
    format_name, target = _target(argument, port.workspace)
    title = f"gptoss-tui conversation of {datetime.now():%Y-%m-%d %H:%M}"
    text = export(record.events, format_name, title)
    try:
        written = await asyncio.to_thread(_write_new, target, text)
    except OSError as error:
        port.say("error", f"{target} could not be written: {error.strerror}", "Name another file: /export FILE")
        return
    port.say("info", f"The conversation is in {written}")


def _target(argument: str, workspace: str) -> tuple[str, Path]:
    """Parse the command's argument into a format and a file; the file is named after the current time by default."""
    words = argument.split(maxsplit=1)
    chosen = ""
    if words and words[0].lower() in FORMATS:
        chosen = words.pop(0).lower()
    if words:
        path = Path(workspace, os.path.expanduser(words[0]))
        return chosen or _SUFFIXES.get(path.suffix.lower(), "markdown"), path
    chosen = chosen or "markdown"
    suffix = {"markdown": "md"}.get(chosen, chosen)
    return chosen, Path(workspace, f"conversation-{datetime.now():%Y%m%d-%H%M%S}.{suffix}")


def _write_new(path: Path, text: str) -> Path:
    """Write a new file; if the name is taken, a number is appended."""
    for number in range(1, 100):
        name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            with name.open("x", encoding="utf-8") as file:
                file.write(text)
            return name
        except FileExistsError:
            continue
    raise FileExistsError(17, "there are too many files of that name")


def _export_values(port: SlashPort) -> Iterable[Value]:
    return [Value(name, help) for name, help in FORMATS.items()]


async def _copy(port: SlashPort, argument: str) -> None:
    record = port.record()
    what, _, number = argument.lower().partition(" ")
    match what:
        case "" | "last":
            text, missing = record.last_answer(), "There is no answer yet."
        case "all":
            text = "" if record.is_empty else export(record.events, "markdown", "Conversation")
            missing = "There is no conversation yet."
        case "code":
            text, missing = _code(record, number)
        case _:
            port.say(
                "warning", f"/copy does not know {to_terminal_line(argument)!r}.", "Use last, code, code 2, or all."
            )
            return
    if text:
        await port.copy(text)
    else:
        port.say("info", missing)


def _code(record: Record, number: str) -> tuple[str, str]:
    """Code block `number` of the newest answer that has code (default: its last one); else the reason why not."""
    blocks = record.code_blocks()
    if not blocks:
        return "", "No answer has a code block."
    index = int(number) if number.isdecimal() else 0 if number else len(blocks)
    if not 1 <= index <= len(blocks):
        return "", f"The newest answer with code has blocks 1 to {len(blocks)}."
    return blocks[index - 1].code, ""


def _copy_values(port: SlashPort) -> Iterable[Value]:
    yield Value("last", "the newest answer")
    for number, block in enumerate(port.record().code_blocks(), start=1):
        first = block.code.strip().split("\n")[0][:60]
        yield Value(f"code {number}", f"{block.language or 'text'}: {first}")
    yield Value("all", "the whole conversation as Markdown")


COMMANDS = (
    Command(
        "export",
        "write the conversation into a file",
        _export,
        "Conversation",
        Argument("[format] [file]", _export_values),
        more="As markdown, json or html; the file name can say it too. Without a name, a new file is created in the "
        "workspace. Existing files are not overwritten.",
    ),
    Command(
        "copy",
        "copy an answer, a code block, or everything",
        _copy,
        "Conversation",
        Argument("[what]", _copy_values),
        more="`last` is the newest answer, `code` its last code block, `code 2` its second one, `all` the conversation "
        "as Markdown. Copies to the system's clipboard if there is one, and to the terminal's (OSC 52).",
    ),
)
