"""Lazy imports, for modules that the first frame does not need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LateModule:
    """Stands in for a module, which is imported on first use. Thread-safe, because Python's import takes a lock."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self._name), name)
        setattr(self, name, value)
        return value


def late(name: str) -> LateModule:
    """A stand-in for module `name`. For type checkers, import the module itself under `TYPE_CHECKING`."""
    return LateModule(name)
