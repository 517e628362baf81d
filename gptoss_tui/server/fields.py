"""Reads JSON objects of requests: each field either has the right type, or the client is told which one does not.

`null` is always the same as absent. Fields that are not read are ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from gptoss_tui.server.errors import ApiError, invalid

Word = TypeVar("Word", bound=str)

MAX_ITEMS = 20_000
"""Limit for lists that are read element by element. That many messages fill any context."""


class Fields:
    """The fields of one object. `path` is its position in the request, empty for the request itself.

    `size` is the size of the request in bytes.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "", size: int = 0) -> None:
        self.values = values
        self.path = path
        self.size = size

    def param(self, name: str) -> str:
        """The path of a field, for errors."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether the field is present and not null."""
        return self.values.get(name) is not None

    def wrong(self, name: str, wanted: str) -> ApiError:
        """The error for a field with an invalid value."""
        param = self.param(name)
        return invalid(f"Invalid value for '{param}': expected {wanted}, got {_shown(self.values.get(name))}.", param)

    def missing(self, name: str) -> ApiError:
        """The error for a missing field."""
        param = self.param(name)
        return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")

    def text(self, name: str) -> str | None:
        """A text, or None."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def required_text(self, name: str) -> str:
        """A text that is required, but may be empty."""
        value = self.text(name)
        if value is None:
            raise self.missing(name)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "a boolean")
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number in `low..high`, or None."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "an integer")
        if not low <= value <= high:
            raise self.wrong(name, f"an integer between {low} and {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number in `low..high`, or None."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(name, "a number")
        if not low <= value <= high:  # false for NaN, too; an integer may be larger than any float
            raise self.wrong(name, f"a number between {low:g} and {high:g}")
        return float(value)

    def choice(self, name: str, options: Collection[Word]) -> Word | None:
        """One of the given words, or None."""
        value = self.text(name)
        if value is None:
            return None
        for option in options:
            if option == value:
                return option
        raise self.wrong(name, f"one of {', '.join(repr(option) for option in options)}")

    def child(self, name: str) -> Fields | None:
        """An object, or None."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value, self.param(name))

    def required_child(self, name: str) -> Fields:
        """An object that is required."""
        child = self.child(name)
        if child is None:
            raise self.missing(name)
        return child

    def list(self, name: str) -> Sequence[Any] | None:
        """A list of anything, or None."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, list):
            raise self.wrong(name, "an array")
        if value is not None and len(value) > MAX_ITEMS:
            raise self.wrong(name, f"an array of at most {MAX_ITEMS} elements")
        return value

    def children(self, name: str) -> Iterator[Fields]:
        """The objects in a list; none if the list is absent."""
        for index, value in enumerate(self.list(name) or ()):
            path = f"{self.param(name)}[{index}]"
            if not isinstance(value, dict):
                raise invalid(f"Invalid value for '{path}': expected an object, got {_shown(value)}.", path)
            yield Fields(value, path)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts, or None."""
        values = self.list(name)
        if values is None:
            return None
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "an array of strings")
        return tuple(values)


def _shown(value: object) -> str:
    """A value for an error message, shortened so that no request can make the message long."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, int):
        return "an integer" if value.bit_length() > 64 else str(value)
    return repr(value[:60]) if isinstance(value, str) else repr(value)
