"""Programs that everybody asks for, each in one fixed form (`training/wordings/classics.toml`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from training.data.phrasing import WORDINGS_DIR


@dataclass(frozen=True, slots=True)
class Classic:
    """A program by the names that people use for it, the first one being the best; its usual file and its lines."""

    names: tuple[str, ...]
    path: str
    lines: tuple[str, ...]


def read_classics() -> tuple[Classic, ...]:
    """All of them, in the order of the file."""
    table = tomllib.loads((WORDINGS_DIR / "classics.toml").read_text(encoding="utf-8"))
    return tuple(
        Classic(tuple(item["names"]), item["path"], tuple(item["code"].rstrip("\n").split("\n")))
        for item in table["program"]
    )


CLASSICS = read_classics()
