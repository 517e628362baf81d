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
from gptoss_tui.settings import PREFIX, Settings

DOCS = Path(__file__).parents[1] / "docs"
SHARED = ("screen", "chat", "model", "sampling")
"""Groups of flags that several commands have; described once."""

MEANINGS = {
    "parked_gb": "memory for [conversations that wait](models.md#several-conversations), in GB; 0 keeps none (default: "
    "as much as the context takes, if half of what is left has it)",
    "browser_backend": "who is asked for pages, see [tools](tools.md#browser)",
    "browser_proxy": "the address of a proxy for all that the browser asks for; the environment's are not used",
    "searxng_url": "the address of your SearXNG",
    "browser_folder": "the folder that `local` searches (default: the documentation that comes with the app)",
    "constrain_headers": "let the model write only well-formed headers, and call only tools that it is offered",
    "strict_arguments": "let the model write only arguments that the schema of the tool allows",
    "grounded_patches": "let the model write only [patches that fit the files](patch.md#while-it-is-written) that they "
    "name (default: with nano)",
    "reasoning_tokens_low": "how many tokens the model may think before it calls or answers, with low effort; 0: any",
    "reasoning_tokens_medium": "the same with medium effort",
    "reasoning_tokens_high": "the same with high effort",
    "runaways": "a model that repeats itself is stopped and made to answer, or you are asked; or nothing happens",
    "repeated_tokens": "so many tokens in a row that only repeat what stands before them are a runaway; 0: never",
    "repeated_calls": "the same call with the same result so many times is a runaway",
    "python_sandbox": "what keeps Python in: `docker`, `bubblewrap`, or the first of them that works",
    "keys": 'keys of your own, a table of [action](keys.md) and keys: `[keys]`, then `chat.help = "Ctrl+Y, F1"`; '
    '`"none"` takes a key away',
    "pictures": "how the terminal draws [figures](tools.md#figures); `auto` asks it",
    "python_image": "the image for Docker, as `sandbox build` makes it; nothing is pulled while you wait",
    "python_stateful": "whether Python keeps its variables between calls",
    "python_workspace": "whether Python can read the workspace, at `/workspace`",
}
"""What the settings without a flag mean; the others say it in the flag's help."""

VARIABLES = {
    "GPTOSS_TUI_CONFIG": "the settings file, instead of `config.toml` in the user's configuration folder",
    "GPTOSS_TUI_APPROVALS": "folder of what was allowed for good, a file for each workspace",
    "GPTOSS_TUI_SESSIONS": "folder of the session files",
    "GPTOSS_TUI_RESPONSES": "folder of the responses that `gptoss-tui serve` stores",
    "GPTOSS_TUI_UNDO": "folder of the edits that can be undone",
    "GPTOSS_TUI_API_KEY": "the API key that clients of `gptoss-tui serve` must send",
    "GPTOSS_TUI_REMOTE_API_KEY": "the API key of the server that has the model: [remote](remote.md)",
    "GPTOSS_TUI_MCP_TOKEN": "the token that hosts of `gptoss-tui mcp serve --http` must send",
    "GPTOSS_MODELS_DIR": "folder where downloaded models are kept",
    "GPTOSS_TUI_NATIVE_ISA": "the instruction set that the CPU engine takes instead of the best: [its page](cpu.md)",
    "GPTOSS_TUI_METAL_KERNELS": "which fused kernels the [Metal engine](metal.md) may use: names with commas, or `off`",
    "GPTOSS_TUI_METAL_ON_CPU": "`1` lets `--backend metal` run on MLX's CPU kernels, for tests",
    "GPTOSS_TUI_PYTHON_BACKENDS": "`1` allows `--backend python:MODULE`, an engine of your own",
    "EXA_API_KEY": "your key for Exa; `YDC_API_KEY`, `BRAVE_API_KEY`, `TAVILY_API_KEY` are those of other services",
    "HF_ENDPOINT": "the hub that `models download` talks to",
    "HF_TOKEN": "your token for that hub",
    "HF_HUB_CACHE": "where models that other programs downloaded are looked for, else `hub` in `HF_HOME`",
    "HF_HOME": "folder of the Hugging Face programs, by default `~/.cache/huggingface`",
    "NO_COLOR": "any value: no colours",
}
"""Variables of the environment that are no settings."""

SOURCE = "Made from the program by `python scripts/reference.py`; edit the program, not this page.\n"


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
        "Exit codes of every command: 0 done, 1 failed, 2 bad usage, 130 interrupted (Ctrl+C), 141 the reader of the\n"
        "output went away. An error is a line `error: ...` on stderr, where it helps with a line `hint: ...` below.\n",
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
            "Each setting can be given in a TOML file, in the environment and as a flag. A flag wins over the\n"
            "environment, and the environment over the file. `gptoss-tui doctor` says which file is read; on Linux it\n"
            "is `~/.config/gptoss-tui/config.toml`:\n",
            '```toml\nmodel = "gpt-oss-20b"\nreasoning_effort = "high"\npython = true\n```\n',
            "In the environment, yes is `1`, `true`, `yes` or `on`, and no is `0`, `false`, `no` or `off`.\n"
            "An unknown key and a value of the wrong kind are errors that name the file, the variable or the flag.\n",
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
    yield f"```\n{title} {usage}".rstrip() + "\n```\n"
    yield _prose(parser.description) + "\n"
    if own:
        yield _table(own)
    shared = [str(group.title) for group in _groups(parser) if group.title in SHARED and group._group_actions]
    if shared:
        yield "Takes the shared flags too: " + ", ".join(f"[{name}](#{name}-flags)" for name in shared) + ".\n"
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
    return f"[{word}]" if action.nargs == "?" else word


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
    variable = "-" if table else f"`{PREFIX}{field.name.upper()}`"
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
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names[_inner(hint)]


def _inner(hint: Any) -> Any:
    """The type without its `| None`."""
    if get_origin(hint) is Literal:
        return hint
    return next((option for option in get_args(hint) if option is not type(None)), hint)


def _default(value: object) -> str:
    if value is None:
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
