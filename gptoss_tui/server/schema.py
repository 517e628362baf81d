"""What form an answer must have: `response_format` of chat completions, `text.format` of Responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gptoss_tui.server.errors import not_supported
from gptoss_tui.server.fields import Fields

FormatKind = Literal["text", "json_object", "json_schema"]


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The form of the answer; `schema` with `json_schema`."""

    kind: FormatKind = "text"
    name: str = ""
    schema: Mapping[str, Any] | None = None


TEXT = AnswerFormat()


def read_format(fields: Fields, name: str, nested: str | None) -> AnswerFormat:
    """The format in field `name`; `nested` is the field in it that has the schema, None when it stands there itself.

    Raises ApiError.
    """
    style = fields.child(name)
    if style is None:
        return TEXT
    kind = style.choice("type", ("text", "json_object", "json_schema"))
    if kind is None:
        raise style.missing("type")
    if kind == "text":
        return TEXT
    raise not_supported(f"'{kind}'", style.param("type"))
