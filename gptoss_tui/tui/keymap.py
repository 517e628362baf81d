"""Custom keys from `[keys]` in the settings: parsed, checked against the existing bindings, and named for hints."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from textual.binding import Binding, BindingType
from textual.keys import KEY_ALIASES, Keys, _character_to_key

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.bindings import PLACES
from gptoss_tui.tui.keys import key_name

NO_KEY = "no_key"
"""A key that nobody can press; it is assigned to actions that the user unbound."""

_MODIFIERS = ("alt", "ctrl", "hyper", "meta", "shift", "super")
_SPELLINGS = {
    **{"esc": "escape", "return": "enter", "del": "delete", "ins": "insert", "pgup": "pageup", "pgdn": "pagedown"},
    **{"page_up": "pageup", "page_down": "pagedown", "spacebar": "space", "control": "ctrl", "option": "alt"},
}
_NAMES = {key.value for key in Keys if "+" not in key.value and len(key.value) > 1}
_SEPARATOR = re.compile(r"(?<!\+),\s*|\s+")
_SAME_KEY = {alias: key for key, aliases in KEY_ALIASES.items() for alias in aliases}
"""Keys that terminals without the Kitty protocol cannot tell apart, mapped to one of them."""


@dataclass(frozen=True, slots=True)
class Keymap:
    """`keys` maps binding ids to keys that differ from the built-in ones; `problems` are messages for the user."""

    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def own(self, bindings: Iterable[BindingType]) -> dict[str, str]:
        """Map each single key to the action of `bindings` that it runs now."""
        found = [binding for binding in bindings if isinstance(binding, Binding)]
        return {key: binding.action for binding in found for key in self._keys_of(binding).split(",")}

    def label(self, binding: Binding) -> str:
        """The first key of a binding, spelled for people; empty when it has none."""
        key = self._keys_of(binding).split(",")[0]
        return "" if key == NO_KEY else key_name(key)

    def _keys_of(self, binding: Binding) -> str:
        return self.keys.get(binding.id or "", binding.key)


def read_keymap(wanted: Mapping[str, str]) -> Keymap:
    """Build the keymap from `wanted`: binding ids mapped to keys as people write them, or to `none`.

    Invalid entries keep their built-in key and are reported in `problems`: unknown ids or keys, letters that would type
    text, and keys that already do something else in the same place.
    """
    if not wanted:
        return Keymap()
    known = {binding.id or "": binding for _, bindings in PLACES for binding in bindings}
    problems: list[str] = []
    keys: dict[str, str] = {}
    for name, text in wanted.items():
        try:
            keys[name] = _checked(name, text, known)
        except ValueError as error:
            problems.append(str(error))
    problems += _drop_conflicts(keys, known, _together())
    return Keymap(keys, tuple(to_terminal_line(problem) for problem in problems))


def parse_keys(text: str) -> str:
    """Convert `Ctrl+J, Alt+,` to Textual's spelling, `ctrl+j,alt+comma`. Raises ValueError for an invalid key."""
    parts = [part for part in _SEPARATOR.split(text.strip()) if part]
    if not parts:
        raise ValueError("no key is given")
    return ",".join(_parse_key(part) for part in parts)


def _parse_key(text: str) -> str:
    *modifiers, last = text.split("+") if not text.endswith("+") else [*text[:-2].split("+"), "+"]
    modifiers = sorted(_SPELLINGS.get(name.lower(), name.lower()) for name in modifiers if name)
    if any(name not in _MODIFIERS for name in modifiers):
        raise ValueError(f"`{text}` is not a key")
    if len(last) == 1:
        key = _character_to_key(last.lower() if modifiers else last)
    else:
        key = _SPELLINGS.get(last.lower(), last.lower())
        if key not in _NAMES and not _is_character_name(key):
            raise ValueError(f"`{text}` is not a key")
    return "+".join([*modifiers, key])


def _is_character_name(key: str) -> bool:
    from textual.keys import key_to_character

    return key_to_character(key) is not None


def _checked(name: str, text: str, known: Mapping[str, Binding]) -> str:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise ValueError(f"`{name}` is not an action" + (f"; did you mean `{close[0]}`?" if close else ""))
    if text.strip().lower() == "none":
        return NO_KEY
    try:
        keys = parse_keys(text)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None
    letters = [key for key in keys.split(",") if _types_text(key)]
    if letters and not name.startswith(_MODAL) and name not in _TYPED:
        raise ValueError(f"`{name}`: `{letters[0]}` alone types text; use a key with Ctrl or Alt")
    return keys


_MODAL = ("approval.", "help.")
"""Places where letters do not type text."""
_TYPED = ("composer.help",)
"""Actions bound to a character that acts as a key only in an empty draft."""


def _types_text(key: str) -> bool:
    return "+" not in key and (len(key) == 1 or (_is_character_name(key) and key not in _NAMES))


def _together() -> set[frozenset[str]]:
    """Pairs of binding ids that can be active at the same time."""
    always = [b.id or "" for title, bindings in PLACES if title == "Anywhere" for b in bindings]
    pairs: set[frozenset[str]] = set()
    for _, bindings in PLACES:
        ids = [b.id or "" for b in bindings]
        around = (
            always if ids and ids[0].startswith(_OF_THE_CHAT) else [one for one in always if one.startswith("app.")]
        )
        pairs |= {frozenset(pair) for pair in combinations(ids, 2)}
        pairs |= {frozenset((one, other)) for one in ids for other in around}
    return pairs


_OF_THE_CHAT = ("chat.", "app.", "composer.", "approval.")
"""Prefixes of bindings in the chat; the other places are screens on top of it."""


def _drop_conflicts(keys: dict[str, str], known: Mapping[str, Binding], pairs: set[frozenset[str]]) -> Iterator[str]:
    """Remove from `keys` what would clash with another active binding, and yield a message for each."""
    for name in list(keys):
        for key in keys[name].split(","):
            other = _holder(name, key, keys, known, pairs)
            if other:
                del keys[name]
                yield f"`{name}`: {key_name(key)} already does `{other}`; the key stays as it was"
                break


def _holder(
    name: str, key: str, keys: Mapping[str, str], known: Mapping[str, Binding], pairs: set[frozenset[str]]
) -> str:
    """The id of another binding that has `key`; empty if there is none, or if `name` has that key by default."""
    if key == NO_KEY or _canonical(key) in _canonical_keys(known[name].key):
        return ""
    for other, binding in known.items():
        if other != name and frozenset((name, other)) in pairs:
            held = keys.get(other, binding.key)
            if _canonical(key) in _canonical_keys(held):
                return other
    return ""


def _canonical_keys(keys: str) -> set[str]:
    return {_canonical(key) for key in keys.split(",")}


def _canonical(key: str) -> str:
    return _SAME_KEY.get(key, key)
