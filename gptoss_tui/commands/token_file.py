"""Reads token ids from a JSON file and checks them."""

from __future__ import annotations

import json
from pathlib import Path

from gptoss_tui.errors import UsageError


def read_token_file(path: Path) -> list[int]:
    """Read a JSON list of token ids from `path`. Raises UsageError when it contains anything else or is empty."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, list):
        raise UsageError(f"{path} must hold a JSON list of token ids, not {type(values).__name__}")
    if not values:
        raise UsageError(f"{path} holds no token ids")
    for index, value in enumerate(values):
        if type(value) is not int:
            raise UsageError(f"{path}: entry {index} is not a token id: {json.dumps(value)[:40]}")
    return values


def check_token_ids(token_ids: list[int], vocab_size: int, where: str) -> None:
    """Raise UsageError unless every id is one of the model's `vocab_size` ids."""
    for index, token_id in enumerate(token_ids):
        if not 0 <= token_id < vocab_size:
            raise UsageError(f"{where}: entry {index} is {token_id}, and the model's ids are 0..{vocab_size - 1}")
