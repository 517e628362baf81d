"""Ids of responses and items. An item's id contains the id of its response, so an item can be found by its id."""

from __future__ import annotations

import re
import secrets

_RESPONSE = re.compile(r"resp_([0-9a-f]{32})")
_ITEM = re.compile(r"[a-z]{2,4}_([0-9a-f]{32})([io])([0-9a-f]{4})")


def new_response_id() -> str:
    """A new id that nobody can guess."""
    return f"resp_{secrets.token_hex(16)}"


def is_response_id(text: str) -> bool:
    """Whether the text is the id of a response, and thus a safe file name."""
    return _RESPONSE.fullmatch(text) is not None


def input_id(prefix: str, response_id: str, index: int) -> str:
    """The id for an item that the client sent without one."""
    return f"{prefix}_{response_id.removeprefix('resp_')}i{index:04x}"


def output_id(prefix: str, response_id: str, index: int) -> str:
    """The id for an item that the model produced."""
    return f"{prefix}_{response_id.removeprefix('resp_')}o{index:04x}"


def response_of(item_id: str) -> str | None:
    """The id of the response that an item belongs to, or None for ids that are not ours."""
    found = _ITEM.fullmatch(item_id)
    return f"resp_{found[1]}" if found else None
