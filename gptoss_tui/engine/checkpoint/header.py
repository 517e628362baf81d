"""The header of a safetensors file, read without touching its tensors.

A file is: 8 bytes little-endian header length, the header as JSON {name: {dtype, shape, data_offsets}}, then the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss_tui.errors import CheckpointError

_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class HeaderEntry:
    """A tensor as described in a file's header; `nbytes` is the length of its data, which begins at `offset`."""

    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    offset: int


def read_header(path: Path) -> dict[str, HeaderEntry]:
    """The tensors in the safetensors file `path`.

    Raises CheckpointError, naming the file, if it is not a safetensors file, if its tensors overlap or leave gaps, or
    if it is shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _MAX_HEADER_BYTES:
                raise CheckpointError(f"{path} is not a safetensors file")
            header = json.loads(file.read(length))
            size = path.stat().st_size
        entries = {name: _entry(value, 8 + length) for name, value in header.items() if name != "__metadata__"}
        end = 8 + length + _data_length(header[name]["data_offsets"] for name in entries)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged header", hint="download the file again") from error
    if size != end:
        state = "truncated" if size < end else "too long"
        raise CheckpointError(f"{path} is {state}: {size} bytes, {end} expected", hint="download the file again")
    return entries


def _entry(value: Any, data: int) -> HeaderEntry:
    begin, end = (int(offset) for offset in value["data_offsets"])
    return HeaderEntry(tuple(int(size) for size in value["shape"]), str(value["dtype"]), end - begin, data + begin)


def _data_length(offsets: Iterable[Sequence[int]]) -> int:
    """The end of the last tensor. Raises ValueError if tensors overlap or leave gaps, which the format forbids."""
    end = 0
    for begin, following in sorted(map(tuple, offsets)):
        if not end == begin <= following:
            raise ValueError("the tensors' data is not contiguous")
        end = following
    return end
