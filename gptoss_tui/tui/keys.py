"""The app's keys, read from its bindings, for the help screen and for `docs/keys.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.binding import Binding
from textual.keys import format_key

from gptoss_tui.tui.bindings import PLACES

_NAMES = {
    "escape": "Esc",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    **{key: key.capitalize() for key in ("enter", "tab", "space", "up", "down", "left", "right", "home", "end")},
    **{key: key.capitalize() for key in ("backspace", "delete", "insert")},
}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A binding as shown to people: its keys (`Shift+Enter, Ctrl+J`), what it does, and its id."""

    keys: str
    description: str
    id: str


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """The keys of one place."""

    title: str
    rows: tuple[KeyRow, ...]


def key_groups(changed: Mapping[str, str] | None = None) -> list[KeyGroup]:
    """Every key of the app, grouped by where it works; `changed` overrides the keys of some ids."""
    changed = changed or {}
    return [KeyGroup(title, tuple(_row(binding, changed) for binding in bindings)) for title, bindings in PLACES]


def key_name(key: str) -> str:
    """Spell a key for people: `alt+comma` becomes `Alt+,`."""
    *modifiers, last = key.split("+")
    if len(last) == 1:
        name = last.upper() if modifiers else last
    elif last[0] == "f" and last[1:].isdecimal():
        name = last.upper()
    else:
        name = _NAMES.get(last) or format_key(last)
    return "+".join([*(modifier.capitalize() for modifier in modifiers), name])


def keys_page() -> str:
    """The text of `docs/keys.md`."""
    parts = ["# Keys\n\nMade from the bindings of the app by `python -m gptoss_tui.tui.keys`.\n"]
    for group in key_groups():
        rows = [f"| {_code(row.keys)} | {row.description} | `{row.id}` |" for row in group.rows]
        parts.append("\n".join([f"## {group.title}\n", "| key | does | id |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _row(binding: Binding, changed: Mapping[str, str]) -> KeyRow:
    keys = ", ".join(key_name(key) for key in changed.get(binding.id or "", binding.key).split(","))
    return KeyRow(keys, binding.description, binding.id or "")


def _code(keys: str) -> str:
    return " ".join(f"`{key}`" for key in keys.split(", "))


if __name__ == "__main__":
    print(keys_page(), end="")
