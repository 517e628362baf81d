"""The keys of the app, read from its bindings: for the help screen and for `docs/keys.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType

_NAMES = {
    "comma": ",",
    "full_stop": ".",
    "question_mark": "?",
    "escape": "Esc",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "enter": "Enter",
    "up": "Up",
    "down": "Down",
    "home": "Home",
    "end": "End",
    "ctrl": "Ctrl",
    "shift": "Shift",
    "alt": "Alt",
}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A binding for people: `Shift+Enter, Ctrl+J`, what it does, and its id."""

    keys: str
    description: str
    id: str


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """The keys of one place."""

    title: str
    rows: tuple[KeyRow, ...]


def key_groups() -> list[KeyGroup]:
    """Every key of the app, grouped by where it works."""
    from gptoss_tui.tui.app import GptOssApp
    from gptoss_tui.tui.screens.chat import ChatScreen
    from gptoss_tui.tui.screens.help import HelpScreen
    from gptoss_tui.tui.widgets.approval import ApprovalPanel
    from gptoss_tui.tui.widgets.composer import Composer

    places: Sequence[tuple[str, Iterable[BindingType]]] = (
        ("Composer", Composer.BINDINGS),
        ("Anywhere", [*ChatScreen.BINDINGS, *GptOssApp.BINDINGS]),
        ("While an approval is asked", ApprovalPanel.BINDINGS),
        ("Help", HelpScreen.BINDINGS),
    )
    return [KeyGroup(title, tuple(_row(b) for b in bindings if isinstance(b, Binding))) for title, bindings in places]


def key_name(key: str) -> str:
    """`alt+comma` as people write it: `Alt+,`."""
    *modifiers, last = key.split("+")
    letter = last.upper() if modifiers or len(last) > 1 else last
    return "+".join([*(_NAMES[m] for m in modifiers), _NAMES.get(last, letter)])


def keys_page() -> str:
    """`docs/keys.md`."""
    parts = ["# Keys\n\nMade from the bindings of the app by `python -m gptoss_tui.tui.keys`.\n"]
    for group in key_groups():
        rows = [f"| {_code(row.keys)} | {row.description} | `{row.id}` |" for row in group.rows]
        parts.append("\n".join([f"## {group.title}\n", "| key | does | id |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _row(binding: Binding) -> KeyRow:
    keys = ", ".join(key_name(key) for key in binding.key.split(","))
    return KeyRow(keys, binding.description, binding.id or "")


def _code(keys: str) -> str:
    return " ".join(f"`{key}`" for key in keys.split(", "))


if __name__ == "__main__":
    print(keys_page(), end="")
