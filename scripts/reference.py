"""Writes `docs/cli.md` and `docs/configuration.md` from the program itself: `python scripts/reference.py`.

With `--check` nothing is written: the exit code is 1 when a page is not what the program would say.
The pages are made from the parser's actions, not from its help text, which Python versions lay out differently.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gptoss_tui.cli import build_parser
from gptoss_tui.settings import FILE_ONLY, PREFIX, Settings

DOCS = Path(__file__).parents[1] / "docs"
SHARED = ("screen", "chat", "tool", "model", "sampling")
"""Groups of flags that several commands have; described once."""

MEANINGS = {
    "parked_gb": "memory for [waiting conversations](models.md#several-conversations), in GB; 0 turns them off "
    "(default: as much as one context, at most half of what is left)",
    "browser_backend": "where the browser searches; see [tools](tools.md#browser)",
    "browser_proxy": "address of a proxy for the browser; proxies from the environment are not used",
    "searxng_url": "address of your SearXNG",
    "browser_folder": "folder that `local` searches (default: the app's documentation)",
    "constrain_headers": "allow only well-formed headers and calls of available tools",
    "strict_arguments": "allow only arguments that match the tool's schema",
    "grounded_patches": "allow only [patches that fit the files](patch.md#while-it-is-written) they name (default: "
    "on for nano)",
    "reasoning_tokens_low": "how many tokens the model may think before it calls or answers at low effort; 0: no limit",
    "reasoning_tokens_medium": "the same at medium effort",
    "reasoning_tokens_high": "the same at high effort",
    "runaways": "what to do when the model [repeats itself](harmony.md#runaways): stop it and make it answer, ask "
    "you, or nothing",
    "repeated_tokens": "how many repeating tokens in a row count as a runaway; 0: never",
    "repeated_calls": "how many equal calls with equal results count as a runaway",
    "python_sandbox": "sandbox for Python: `docker`, `bubblewrap`, or the first of them that works",
    "keys": 'your own keys, a table of [action ids](keys.md) and keys: `[keys]`, then `chat.help = "Ctrl+Y, F1"`; '
    '`"none"` removes a key',
    "notify": "a program of yours with its arguments, [started](events.md#notify) when a turn ends or needs you",
    "pictures": "how to draw [figures](tools.md#figures); `auto` asks the terminal",
    "python_image": "Docker image for Python, from `sandbox build`; it is never pulled while you wait",
    "python_stateful": "keep Python's variables between calls",
    "python_workspace": "let Python read the workspace, at `/workspace`",
}
"""Meanings of the settings without a flag; the others use the flag's help."""

VARIABLES = {
    "GPTOSS_TUI_CONFIG": "settings file, instead of `config.toml` in your configuration folder",
    "GPTOSS_TUI_APPROVALS": "folder for permanent approvals, one file per workspace",
    "GPTOSS_TUI_SESSIONS": "folder for session files",
    "GPTOSS_TUI_RESPONSES": "folder for the responses that `gptoss-tui serve` stores",
    "GPTOSS_TUI_UNDO": "folder for the undo history",
    "GPTOSS_TUI_API_KEY": "API key that clients of `gptoss-tui serve` must send",
    "GPTOSS_TUI_REMOTE_API_KEY": "API key of a [remote model's](remote.md) server",
    "GPTOSS_TUI_MCP_TOKEN": "token that hosts of `gptoss-tui mcp serve --http` must send",
    "GPTOSS_MODELS_DIR": "folder for downloaded models",
    "GPTOSS_TUI_NATIVE_ISA": "instruction set for the [CPU engine](cpu.md), instead of the best",
    "GPTOSS_TUI_METAL_KERNELS": "fused kernels that the [Metal engine](metal.md) may use: names separated by commas, "
    "or `off`",
    "GPTOSS_TUI_METAL_ON_CPU": "`1` runs `--backend metal` on MLX's CPU kernels, for tests",
    "GPTOSS_TUI_PYTHON_BACKENDS": "`1` allows `--backend python:MODULE`, an engine of your own",
    "EXA_API_KEY": "your key for Exa; for other services, `YDC_API_KEY`, `BRAVE_API_KEY` and `TAVILY_API_KEY`",
    "HF_ENDPOINT": "address of the hub that `models download` uses",
    "HF_TOKEN": "your token for that hub",
    "HF_HUB_CACHE": "folder of models that other programs downloaded (default: `hub` in `HF_HOME`)",
    "HF_HOME": "folder of the Hugging Face programs (default: `~/.cache/huggingface`)",
    "NO_COLOR": "any value turns colours off",
}
"""Environment variables that are not settings."""

SOURCE = "Generated from the program by `python scripts/reference.py`; edit the program, not this page.\n"


def cli_page() -> str:
    """`docs/cli.md`."""
    parser = build_parser()
    commands = _subparsers(parser)
    parts = [
        "# Command line\n",
        SOURCE,
        "```\n" + (parser.usage or "").replace("       ", "") + "\n```\n",
        _prose(parser.description) + "\n",
        _command_list(parser),
        "Exit codes of every command: 0 done, 1 failed, 2 usage error, such as an unknown option, model or session,\n"
        "130 interrupted (Ctrl+C), 141 the reader of the output closed it. Errors go to stderr as `error: ...`, often\n"
        "followed by `hint: ...`.\n",
        "## Shared flags\n",
    ]
    for group in _groups(parser):
        if group.title in SHARED:
            parts += [f"### {str(group.title).capitalize()} flags\n", _table(group._group_actions)]
    for name, command in commands.items():
        parts += _command(f"gptoss-tui {name}", command, level=2)
    return "\n".join(parts)


def configuration_page() -> str:
    """`docs/configuration.md`."""
    rows = [_setting(field) for field in dataclasses.fields(Settings)]
    variables = [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    return "\n".join(
        [
            "# Configuration\n",
            SOURCE,
            "Set options in a TOML file, in the environment or as flags. Flags override the environment, which\n"
            "overrides the file. `gptoss-tui doctor` shows the path of the file; on Linux it is\n"
            "`~/.config/gptoss-tui/config.toml`:\n",
            '```toml\nmodel = "gpt-oss-20b"\nreasoning_effort = "high"\npython = true\n```\n',
            "In the environment, true is `1`, `true`, `yes` or `on`, and false is `0`, `false`, `no` or `off`.\n"
            "Unknown keys and invalid values are errors that name the file, variable or flag.\n",
            "## Settings\n",
            "| name in the file | in the environment | flag | type | default | meaning |",
            "|---|---|---|---|---|---|",
            *rows,
            "\n## Other variables\n",
            "| variable | meaning |",
            "|---|---|",
            *variables,
            "",
        ]
    )


def _command(title: str, parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield f"{'#' * level} {title}\n"
    own = [action for group in _groups(parser) if group.title not in SHARED for action in group._group_actions]
    own = [action for action in own if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)]
    words = [_word(action) for action in own]
    usage = " ".join(["[options]"] * any(action.option_strings for action in own) + [word for word in words if word])
    subcommands = _subparsers(parser)
    if subcommands:
        yield _prose(parser.description) + "\n"
        for name, command in subcommands.items():
            yield from _command(f"{title} {name}", command, level + 1)
        return
    written = re.sub(r"\n {7}(?=\S)", "\n", parser.usage) if parser.usage else f"{title} {usage}".rstrip()
    yield f"```\n{written}\n```\n"
    yield _prose(parser.description) + "\n"
    if own:
        yield _table(own)
    shared = [str(group.title) for group in _groups(parser) if group.title in SHARED and group._group_actions]
    if shared:
        yield "Also takes the shared flags: " + ", ".join(f"[{name}](#{name}-flags)" for name in shared) + ".\n"
    if parser.epilog:
        yield _linked(_sentence(_prose(parser.epilog))) + "\n"


def _command_list(parser: argparse.ArgumentParser) -> str:
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    rows = [f"| [`{choice.dest}`](#gptoss-tui-{choice.dest}) | {choice.help} |" for choice in action._choices_actions]
    return "\n".join(["| command | does |", "|---|---|", *rows, ""])


def _groups(parser: argparse.ArgumentParser) -> list[argparse._ArgumentGroup]:
    return parser._action_groups


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def _table(actions: Iterable[argparse.Action]) -> str:
    rows = [f"| {_spelling(action)} | {_cell(_help(action))} |" for action in actions]
    return "\n".join(["| argument | meaning |", "|---|---|", *rows, ""])


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or _choices(action)}`"
    value = "" if action.nargs == 0 else f" {action.metavar or _choices(action)}"
    if action.nargs == "+":
        value += f" [{action.metavar} ...]"
    *others, last = action.option_strings
    return _cell(" ".join(f"`{spelling}`" for spelling in others) + f" `{last}{value}`").strip()


def _word(action: argparse.Action) -> str:
    """The place of `action` in a line of usage; empty for options, which the tables have."""
    word = str(action.metavar or _choices(action))
    if action.option_strings:
        return f"{action.option_strings[-1]} {word}" if action.required else ""
    return {"?": f"[{word}]", "*": f"[{word} ...]", "+": f"{word} [{word} ...]"}.get(str(action.nargs), word)


def _choices(action: argparse.Action) -> str:
    return "{" + ",".join(str(choice) for choice in action.choices or ()) + "}"


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": "gptoss-tui"}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _prose(text: str | None) -> str:
    """Text of the parser as a paragraph."""
    return re.sub(r"[ \n]*\n[ \n]*", " ", text or "").strip()


def _linked(text: str) -> str:
    """`docs/events.md` as a link from the page beside it."""
    return re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else text + "."


def _setting(field: dataclasses.Field[Any]) -> str:
    action = _flag(field.name)
    flag = _spelling(action) if action else "-"
    meaning = _help(action) if action else MEANINGS[field.name]
    meaning = re.sub(r" \(default: [^)]*\)$", "", meaning) if field.default is not None else meaning
    table = field.default is dataclasses.MISSING
    variable = "-" if field.name in FILE_ONLY else f"`{PREFIX}{field.name.upper()}`"
    cells = (f"`{field.name}`", variable, flag, _type(field.name), _default(None if table else field.default))
    return f"| {' | '.join(cells)} | {_cell(meaning)} |"


def _flag(name: str) -> argparse.Action | None:
    return next((action for action in build_parser()._actions if action.dest == name and action.option_strings), None)


def _type(name: str) -> str:
    hint = get_type_hints(Settings)[name]
    if get_origin(_inner(hint)) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(_inner(hint)))
    if get_origin(hint) is Mapping:
        return "table"
    if get_origin(hint) is tuple:
        return "list of texts"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names[_inner(hint)]


def _inner(hint: Any) -> Any:
    """The type without its `| None`."""
    if get_origin(hint) is Literal:
        return hint
    return next((option for option in get_args(hint) if option is not type(None)), hint)


def _default(value: object) -> str:
    if value in (None, ()):
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`{value}`"


PAGES = {"cli.md": cli_page, "configuration.md": configuration_page}


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page is stale")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        page, path = make(), DOCS / name
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != page):
            stale.append(name)
        elif not check:
            path.write_text(page, encoding="utf-8")
    for name in stale:
        print(f"docs/{name} is stale: run `python scripts/reference.py`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
