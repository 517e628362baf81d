"""Extracts the patch text from what a model wrapped around it: JSON, a shell heredoc, code fences, escaped newlines."""

from __future__ import annotations

import json
import re

_KEYS = ("patch", "input", "_", "text", "diff", "content", "arguments", "command", "cmd")
_FENCE = re.compile(r"\A(`{3,}|~{3,})[^\n`]*\n(.*?)\n?\1\s*\Z", re.DOTALL)
_HEREDOC = re.compile(r"\A[^\n*]*<<-?\s*(['\"]?)([A-Za-z_]\w*)\1[^\n]*\n(.*?)\n[ \t]*\2[ \t]*[)'\"]*\s*\Z", re.DOTALL)
_MAX_LAYERS = 6


def unwrap(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the bare patch text, and a note for each layer that was removed."""
    notes: list[str] = []
    for _ in range(_MAX_LAYERS):
        inner = _from_json(text) or _from_pattern(text) or _from_escapes(text)
        if inner is None:
            break
        text, note = inner
        notes.append(note)
    return text.removeprefix("\ufeff"), tuple(notes)


def _from_json(text: str) -> tuple[str, str] | None:
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    found = _patch_string(value)
    return None if found is None else (found, "the patch was taken out of JSON")


def _patch_string(value: object) -> str | None:
    """The string in `value` that contains the patch: itself, that of a known key, or the last item."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        named = [value[key] for key in _KEYS if key in value]
        return _patch_string(named[0] if named else next(reversed(value.values()), None))
    if isinstance(value, list) and value:
        return _patch_string(value[-1])
    return None


def _from_pattern(text: str) -> tuple[str, str] | None:
    stripped = text.strip()
    if match := _FENCE.match(stripped):
        return match[2], "the patch was taken out of a code fence"
    if match := _HEREDOC.match(stripped):
        return match[3], "the patch was taken out of a shell heredoc"
    return None


def _from_escapes(text: str) -> tuple[str, str] | None:
    """A patch on one line with `\\n` written as two characters."""
    stripped = text.strip()
    if "\n" in stripped or "\\n" not in stripped or not stripped.startswith("*** "):
        return None
    try:
        value = json.loads(f'"{stripped}"', strict=False)
    except ValueError:
        return None
    return str(value), "escaped newlines of the patch were read as newlines"
