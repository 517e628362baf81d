"""The parser of every command. A usage error shows that command's usage and the option that was probably meant."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import Any, NoReturn

from gptoss_tui.sanitize import to_terminal_line

PRINT = ("-p", "--print")
"""The options with which other agents print one answer."""


class Parser(argparse.ArgumentParser):
    """A parser for the whole command line; its subparsers are of this class too.

    `after_separator` names the attribute that gets all words after `--`, for a parser that takes a foreign command.
    """

    def __init__(self, *args: Any, after_separator: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._after_separator = after_separator

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Like that of argparse, but words that this parser does not know are a usage error of this parser."""
        if self._after_separator is not None and args is not None:
            own = list(itertools.takewhile(lambda word: word != "--", args))
            self.set_defaults(**{self._after_separator: list(args[len(own) + 1 :])})
            args = own
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.reject(unknown)
        return namespace, unknown

    def parse_some(self, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse `args` and return the words that this parser does not know."""
        return super().parse_known_args(args)

    def reject(self, unknown: Sequence[str]) -> NoReturn:
        """End with a usage error about the first unknown option, or else the first unknown word."""
        options = [word for word in unknown if word.startswith("-") and word.strip("-")]
        if options:
            name = options[0].partition("=")[0]
            self.error(f"there is no option {to_terminal_line(name)}", hint=self._near(name))
        hint = "put quotes around a prompt with spaces" if self._takes("prompt") else None
        self.error(f"{to_terminal_line(unknown[0])!r} is one argument too many", hint=hint)

    def error(self, message: str, hint: str | None = None) -> NoReturn:
        """Print the usage and the error, and exit with 2."""
        hint = hint or f"`{self.prog} --help` shows what there is"
        self.exit(2, f"{self._short_usage()}error: {message}\nhint: {hint}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Called by argparse for a value that may be none of the choices."""
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            import difflib

            near = difflib.get_close_matches(value, action.choices, n=1)
            hint = f"did you mean `{self.prog} {near[0]}`?" if near else f"there are: {', '.join(action.choices)}"
            self.error(f"there is no command {to_terminal_line(value)!r}", hint=hint)
        super()._check_value(action, value)

    def _near(self, option: str) -> str | None:
        """A hint with the options that were probably meant."""
        if option in PRINT and self._takes("prompt"):
            return "for one answer: gptoss-tui exec PROMPT"
        import difflib  # imported late: only mistakes need it

        near = difflib.get_close_matches(option, self._option_string_actions, n=2, cutoff=0.7)
        return f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else None

    def _takes(self, name: str) -> bool:
        return any(action.dest == name for action in self._actions)

    def _short_usage(self) -> str:
        """The usage, with `[options]` in place of those that are optional."""
        if self.usage:
            return self.format_usage()
        formatter = argparse.HelpFormatter(f"{self.prog} [options]")
        needed = [action for action in self._actions if not action.option_strings or action.required]
        formatter.add_usage(None, needed, [])
        return formatter.format_help()
