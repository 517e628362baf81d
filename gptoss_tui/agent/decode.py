"""Converts JSON values to dataclasses and checks the type of every field, since a file may contain anything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

_PLAIN: Final[Mapping[object, tuple[type, ...]]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}


def decode(hint: Any, value: Any) -> Any:
    """Convert `value` to the type `hint`: lists become tuples, and objects dataclasses. Unknown fields are ignored.

    For a `Literal` any string is accepted, since a newer program may know more values. Raises TypeError when the value
    does not match.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        if args[1:] == (...,):
            return tuple(decode(args[0], item) for item in value)
        if len(args) == len(value):
            return tuple(map(decode, args, value))
    elif type(None) in args:
        return None if value is None else decode(args[0], value)
    elif origin is Literal and isinstance(value, str):
        return value
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        hints = _hints(hint)
        return hint(**{name: decode(hints[name], value[name]) for name in hints if name in value})
    elif type(value) in _PLAIN.get(hint, ()) and not (hint is float and not math.isfinite(value)):
        return value
    raise TypeError(f"{value!r} is no {hint}")


@cache
def _hints(cls: type) -> dict[str, Any]:
    every = get_type_hints(cls)
    return {field.name: every[field.name] for field in dataclasses.fields(cls)}
