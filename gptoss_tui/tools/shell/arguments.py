"""Parses the arguments of `shell`: our own form, and the forms that models learned elsewhere."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.tools.shell.wrappers import SHELLS

DEFAULT_SECONDS: Final = 120
MAX_SECONDS: Final = 600
MAX_COMMAND: Final = 20_000
_ENDLESS: Final = 1e18

SHELL = FunctionDeclaration(
    name="shell",
    description=(
        "Run a bash command in the workspace and read what it prints. The user sees the command and allows or denies "
        "it. It runs in a sandbox: the workspace can be written, everything else only be read, /tmp is empty each "
        "time, and there is no network unless `network` is true. What it leaves running is ended with it."
    ),
    parameters={
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": "For bash"},
            "workdir": {"type": "string", "description": "Folder of the workspace to run in", "default": "."},
            "timeout": {"type": "integer", "description": "Seconds, at most 600", "default": DEFAULT_SECONDS},
            "network": {"type": "boolean", "description": "Only when it cannot work without", "default": False},
        },
        "required": ["command"],
    },
)

_NAMES: Final = {
    **dict.fromkeys(("command", "cmd", "commands", "script", "code", "input", "bash"), "command"),
    **dict.fromkeys(("workdir", "cwd", "working_directory", "directory", "path"), "workdir"),
    **dict.fromkeys(("timeout", "timeout_seconds", "timeout_s", "timeout_ms", "yield_time_ms"), "timeout"),
    "network": "network",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What the model asked for. `seconds` is within bounds; `workdir` is as the model wrote it."""

    command: str
    workdir: str = "."
    seconds: int = DEFAULT_SECONDS
    network: bool = False


def read_request(arguments: str) -> Request:
    """Parse the arguments. Raises ToolError that shows the right form."""
    given = _mapping(arguments)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if (known := _NAMES.get(name)) is not None and value is not None:
            values.setdefault(known, _milliseconds(value) if name.endswith("_ms") else value)
    command = _command(values.get("command"))
    workdir, network = values.get("workdir", "."), values.get("network", False)
    if not isinstance(workdir, str) or not isinstance(network, bool):
        raise _wrong("workdir is not a text, or network is not true or false")
    if not command.strip():
        raise _wrong("there is no command")
    if len(command) > MAX_COMMAND or "\0" in command:
        raise _wrong(f"the command has more than {MAX_COMMAND} characters, or a NUL")
    try:
        command.encode()
    except UnicodeEncodeError:
        raise _wrong("the command is not valid text") from None
    return Request(command, workdir or ".", _seconds(values.get("timeout")), network)


def _mapping(arguments: str) -> Mapping[str, Any]:
    text = arguments.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") + 1 : -3].strip()
    try:
        value = json.loads(text, strict=False) if text[:1] in ("{", "[", '"') else text
    except (ValueError, RecursionError):
        if text[:1] == "{" and '"' in text[:4]:
            raise _wrong("the arguments are not valid JSON") from None
        value = text
    return value if isinstance(value, dict) else {"command": value}


def _command(value: object) -> str:
    """The command line: a text as it is, a list of words joined, and `["bash", "-lc", TEXT]` as TEXT."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise _wrong("the command is not a text")
    if len(value) == 3 and PurePosixPath(value[0]).name in SHELLS and value[1] in ("-c", "-lc", "-ec"):
        return str(value[2])
    return value[0] if len(value) == 1 else shlex.join(value)


def _milliseconds(value: object) -> object:
    """Convert to seconds. Clamped here, so that `_seconds` does not take a large result for milliseconds again."""
    return min(value, MAX_SECONDS * 1000) / 1000 if isinstance(value, int | float) and value > 0 else value


def _seconds(value: object) -> int:
    """The time limit in seconds, within bounds. A number that can only be milliseconds is read as such."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return DEFAULT_SECONDS
    if value >= _ENDLESS:
        return MAX_SECONDS
    seconds = value / 1000 if value > MAX_SECONDS and value >= 1000 else value
    return max(1, min(MAX_SECONDS, round(seconds)))


def _wrong(what: str) -> ToolError:
    form = json.dumps({"command": "ls -la", "workdir": ".", "timeout": DEFAULT_SECONDS, "network": False})
    return ToolError(f"shell: {what}. The arguments are a JSON object like {form}; only command is needed.")
