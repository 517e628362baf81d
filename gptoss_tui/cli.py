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
from gptoss_tui.engine.remote.address import take_key
from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.sanitize import to_terminal_text

COMMANDS = (
    *("exec", "sessions", "patch", "trust", "approvals", "sandbox", "mcp", "acp"),
    *("serve", "models", "generate", "score", "doctor", "bench", "completion"),
)
"""Modules of `gptoss_tui.commands`: each has `add_parser(subparsers)`, and its `run(args)` returns the exit code."""

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
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _complain(error, 2)
    except GptOssError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit: redirect it so that this does not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line: chat flags and every command."""
    parser = _new_parser(usage=_USAGE)
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog="gptoss-tui")
    for name in COMMANDS:
        import_module(f"gptoss_tui.commands.{name}").add_parser(subparsers)
    add_session_flags(parser, choose=True)
    add_screen_flags(parser)
    add_chat_flags(parser)
    return parser


def _new_parser(usage: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gptoss-tui",
        usage=usage,
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
    parser = _new_parser(usage=_USAGE)
    add_screen_flags(parser)
    add_chat_flags(parser)
    add_session_flags(parser, choose=True)
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the first message")
    args, unknown = parser.parse_known_args(arguments)
    if args.prompt in COMMANDS and "--" not in arguments:
        raise UsageError(
            f"`{args.prompt}` is a command and must come first",
            hint=f"write `gptoss-tui {args.prompt} ...`, or `-- {args.prompt}` to send it as a prompt",
        )
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    settings = settings_from(args)
    resume = session_from(args, settings)

    if settings.plain or not _has_screen():
        from gptoss_tui.plain.front import run_plain

        return run_plain(settings, args.prompt, "last" if resume == "" else resume)

    gc.disable()  # there is nothing to collect during imports; the app enables it again after its first frame
    from gptoss_tui.commands.machine import hardware_line
    from gptoss_tui.tui.app import run_app

    return run_app(settings, args.prompt, resume, hardware_line)


def _has_screen() -> bool:
    """Whether stdin and stdout are a terminal that can draw a full-screen app."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _before_separator(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _complain(error: GptOssError, code: int) -> int:
    print(to_terminal_text(f"error: {error}"), file=sys.stderr)
    return code
