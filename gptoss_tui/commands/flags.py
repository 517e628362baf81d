"""Flags that several commands share. Flags that are not given are absent, so that the file and environment apply."""

from __future__ import annotations

import argparse
from typing import get_args

from gptoss_tui.engine.dtype import Dense, Dtype
from gptoss_tui.harmony.effort import EFFORTS
from gptoss_tui.settings import Mode, Notifications, Settings, load_settings


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the model flags: `--model`, `--backend`, `--dtype`, `--dense`, `--drafts`, `--context`, `--threads`."""
    group = parser.add_argument_group("model", argument_default=argparse.SUPPRESS)
    group.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help="a model name, a checkpoint directory, or a server: http://HOST:PORT/v1#NAME (default: nano)",
    )
    group.add_argument(
        "--backend",
        metavar="NAME",
        help="auto, metal (Apple silicon), native (CPU), torch (any CPU) or triton (NVIDIA GPU) (default: auto)",
    )
    group.add_argument("--dtype", choices=get_args(Dtype), help="precision (default: bfloat16)")
    group.add_argument(
        "--dense",
        choices=get_args(Dense),
        help="keep attention and unembedding as published or in 8 bits (default: int8 with native, else exact)",
    )
    group.add_argument(
        "--drafts",
        action=argparse.BooleanOptionalAction,
        help="on triton, speed up text that repeats the conversation; the tokens stay the same (default: on)",
    )
    group.add_argument(
        "-c",
        "--context",
        type=int,
        metavar="N",
        help="context length in tokens (default: the longest that fits; nano: 8192)",
    )
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the number of cores)")


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for sampling: `--temperature`, `--top-p`, `--seed`, `--max-tokens`."""
    group = parser.add_argument_group("sampling", argument_default=argparse.SUPPRESS)
    group.add_argument(
        "--temperature", type=float, metavar="T", help="0 always takes the likeliest token (default: 1.0)"
    )
    group.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="sample only from the likeliest tokens with this total probability (default: 1.0)",
    )
    group.add_argument("--seed", type=int, metavar="N", help="make sampling repeatable")
    group.add_argument("--max-tokens", type=int, metavar="N", help="stop after this many tokens")


def add_chat_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for a chat, with or without a screen, including those for tools, the model and sampling."""
    group = parser.add_argument_group("chat", argument_default=argparse.SUPPRESS)
    group.add_argument("-r", "--reasoning-effort", choices=EFFORTS, help="how long to think (default: medium)")
    group.add_argument(
        "--compact-at",
        type=int,
        metavar="PERCENT",
        help="summarise the conversation when the context is this full; 0: never (default: 85, 0 for nano)",
    )
    group.add_argument("--developer-message", metavar="TEXT", help="your own instructions for the model")
    group.add_argument(
        "--agents-md",
        action=argparse.BooleanOptionalAction,
        help="give the model your AGENTS.md and the project's (default: on, off for nano)",
    )
    group.add_argument(
        "--skills",
        action=argparse.BooleanOptionalAction,
        help="tell the model which skills there are, yours and the project's (default: on, off for nano)",
    )
    group.add_argument("--raw", action=argparse.BooleanOptionalAction, help="show the raw tokens of the conversation")
    group.add_argument("-C", "--workspace", metavar="DIR", help="folder to work in (default: the current one)")
    _add_tool_flags(parser)
    add_model_flags(parser)
    add_sampling_flags(parser)


def _add_tool_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tool", argument_default=argparse.SUPPRESS)
    group.add_argument(
        "--apply-patch",
        action=argparse.BooleanOptionalAction,
        help="let the model propose patches to files (default: on)",
    )
    group.add_argument(
        "--edit-file",
        action=argparse.BooleanOptionalAction,
        help="let the model also edit files by replacing text (default: as --apply-patch, off for nano)",
    )
    group.add_argument(
        "--browser",
        action=argparse.BooleanOptionalAction,
        help="let the model search and read the web, or a folder of documents",
    )
    group.add_argument("--python", action=argparse.BooleanOptionalAction, help="let the model run Python")
    group.add_argument(
        "--shell",
        action=argparse.BooleanOptionalAction,
        help="let the model run commands in the workspace (default: on, off for nano)",
    )
    group.add_argument(
        "--plan",
        action=argparse.BooleanOptionalAction,
        help="let the model show its plan as a checklist (default: on, off for nano)",
    )
    group.add_argument(
        "--max-tool-calls",
        type=int,
        metavar="N",
        help="end a turn that has made this many tool calls; `continue` goes on (default: 50)",
    )
    group.add_argument(
        "--show-browser-results", action=argparse.BooleanOptionalAction, help="show the pages the model reads"
    )


def add_screen_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the terminal app: `--mode`, `--plain`, `--theme`, `--notifications`, `--mouse`, `--vim`."""
    group = parser.add_argument_group("screen", argument_default=argparse.SUPPRESS)
    group.add_argument(
        "--mode",
        choices=get_args(Mode),
        help="approval mode: what is allowed without asking (default: ask)",
    )
    group.add_argument(
        "--plain",
        action=argparse.BooleanOptionalAction,
        help="print lines of text instead of drawing a screen, for screen readers and simple terminals",
    )
    group.add_argument(
        "--theme",
        metavar="NAME",
        help="auto (follows the terminal), dark, light, contrast, contrast-light, or a Textual theme (default: auto)",
    )
    group.add_argument(
        "--notifications",
        choices=get_args(Notifications),
        help="how to notify you when a turn ends or needs you while the window has no focus (default: auto)",
    )
    group.add_argument(
        "--mouse",
        action=argparse.BooleanOptionalAction,
        help="use the mouse in the app; without it, the terminal selects and copies (default: on)",
    )
    group.add_argument(
        "--vim",
        action=argparse.BooleanOptionalAction,
        help="Vim keys in the composer (default: what `/vim` chose last, off at first)",
    )


def add_session_flags(parser: argparse.ArgumentParser, *, choose: bool = False) -> None:
    """Add the flags to resume a conversation: `--resume`, `--continue`. With `choose` the id may be left out."""
    group = parser.add_mutually_exclusive_group()
    about = "resume a saved conversation: its id, the beginning of it, or `last`"
    if choose:
        group.add_argument(
            "--resume", metavar="ID", nargs="?", const="", help=f"{about}; without an id, pick from a list"
        )
    else:
        group.add_argument("--resume", metavar="ID", help=about)
    group.add_argument(
        "--continue",
        dest="resume",
        action="store_const",
        const="last",
        help="resume the newest conversation of this folder",
    )


def session_from(args: argparse.Namespace, settings: Settings) -> str | None:
    """The full id of the session to resume; empty to choose one from a list, None for a new session.

    Raises UsageError when there is no such session, and SessionError when sessions cannot be listed.
    """
    if not args.resume:
        asked: str | None = args.resume
        return asked
    from gptoss_tui.agent.session import sessions_directory
    from gptoss_tui.agent.sessions import find_session

    return find_session(sessions_directory(), args.resume, settings.workspace.resolve()).stem


def settings_from(args: argparse.Namespace) -> Settings:
    """Load the settings, overridden by the flags in `args`. Raises UsageError."""
    return load_settings(vars(args))
