"""JSON values as dataclasses, each field held to its type: a file may say anything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

_PLAIN: Final[Mapping[object, tuple[type, ...]]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}


def decode(hint: Any, value: Any) -> Any:
    """`value` as what `hint` says: lists become tuples, objects dataclasses; unknown fields are ignored.

    Of a `Literal` any text is taken, since a newer program may know more. Raises TypeError for what does not fit.
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
