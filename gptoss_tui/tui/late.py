"""Modules that the first frame does not need: they are imported when something in them is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LateModule:
    """Stands for a module until its first use. Any thread may be the first: importing has a lock of its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self._name), name)
        setattr(self, name, value)
        return value


def late(name: str) -> LateModule:
    """The module `name`, imported when it is used; type checkers are shown the module itself beside it."""
    return LateModule(name)
