"""The command line: parses arguments, runs the command, and turns errors into messages and exit codes.

Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted, 141 the reader of the output closed it.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from gptoss_tui import __version__
from gptoss_tui.commands.flags import add_chat_flags, add_screen_flags, add_session_flags, session_from, settings_from
from gptoss_tui.commands.parser import PRINT, Parser
from gptoss_tui.commands.stdout import OutputError, discard_stdout
from gptoss_tui.engine.remote.address import take_key
from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.sanitize import to_terminal_text

COMMANDS = (
    *("exec", "sessions", "patch", "trust", "approvals", "sandbox", "mcp", "acp"),
    *("serve", "models", "generate", "score", "doctor", "bench", "completion"),
)
"""Modules of `gptoss_tui.commands`: each has `add_parser(subparsers)`, and its `run(args)` returns the exit code."""

_NEAR = 0.7
"""How similar a word must be to the name of a command to be taken for it: `execute` is (0.73), `frobnicate` is not."""

_USAGE = """gptoss-tui [options] [PROMPT]
       gptoss-tui COMMAND [options]"""

_DESCRIPTION = """\
A terminal coding assistant that runs gpt-oss models on your own machine.

Without a command, this opens the terminal app and sends PROMPT as the first message. If the prompt starts with the name
of a command, put `--` in front of it. Settings can also come from a file; `gptoss-tui doctor` shows its path."""

_EPILOG = "Run `gptoss-tui COMMAND --help` for more about a command."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    take_key()  # before starting any process that would inherit it
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()
    except UsageError as error:
        return _complain(error, 2)
    except OutputError as error:
        discard_stdout()
        return _complain(error, 1)
    except GptOssError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        discard_stdout()
        return 141


def build_parser() -> Parser:
    """Build the parser of the whole command line: chat flags and every command."""
    parser = _new_parser()
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog="gptoss-tui")
    for name in COMMANDS:
        import_module(f"gptoss_tui.commands.{name}").add_parser(subparsers)
    add_session_flags(parser, choose=True)
    add_screen_flags(parser)
    add_chat_flags(parser)
    return parser


def _new_parser() -> Parser:
    parser = Parser(
        prog="gptoss-tui",
        usage=_USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gptoss-tui {__version__}")
    return parser


def _dispatch(arguments: list[str]) -> int:
    if sys.platform == "win32" and not {"-h", "--help", "--version"} & set(_before_separator(arguments)):
        raise UsageError("gptoss-tui does not run on Windows", hint="run it in WSL 2; to install that: wsl --install")
    if arguments and arguments[0] in COMMANDS:
        parser = build_parser()
        args = parser.parse_args(arguments, argparse.Namespace(root_parser=parser))
        code: int = args.run(args)
        return code
    return _open_app(arguments)


def _open_app(arguments: list[str]) -> int:
    if any(word in ("-h", "--help") for word in _before_separator(arguments)):
        build_parser().print_help()
        return 0
    parser = _new_parser()
    add_screen_flags(parser)
    add_chat_flags(parser)
    add_session_flags(parser, choose=True)
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the first message")
    args, unknown = parser.parse_some(arguments)
    if args.prompt is not None and "--" not in arguments and not set(PRINT) & set(unknown):
        _refuse_commands(args.prompt)
    if unknown:
        parser.reject(unknown)
    settings = settings_from(args)
    resume = session_from(args, settings)

    if settings.plain or not _has_screen():
        from gptoss_tui.plain.front import run_plain

        return run_plain(settings, args.prompt, "last" if resume == "" else resume)

    gc.disable()  # there is nothing to collect during imports; the app enables it again after its first frame
    from gptoss_tui.commands.machine import hardware_line
    from gptoss_tui.tui.app import run_app

    return run_app(settings, args.prompt, resume, hardware_line)


def _refuse_commands(prompt: str) -> None:
    """Raise UsageError if the prompt is a command that does not come first, or is probably a mistyped one."""
    if prompt in COMMANDS:
        raise UsageError(
            f"`{prompt}` is a command and must come first",
            hint=f"write `gptoss-tui {prompt} ...`, or `-- {prompt}` to send it as a prompt",
        )
    import difflib  # imported late: most prompts have spaces

    near = difflib.get_close_matches(prompt, COMMANDS, n=1, cutoff=_NEAR) if prompt.isalpha() else []
    if near:
        raise UsageError(
            f"There is no command `{prompt}`",
            hint=f"did you mean `gptoss-tui {near[0]}`? To send the word as a prompt: gptoss-tui -- {prompt}",
        )


def _has_screen() -> bool:
    """Whether stdin and stdout are a terminal that can draw a full-screen app."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _before_separator(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _complain(error: GptOssError, code: int) -> int:
    print(to_terminal_text(f"error: {error}"), file=sys.stderr)
    return code
