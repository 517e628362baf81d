"""Reads the content of messages: text, either plain or as a list of parts. The models can read nothing else."""

from __future__ import annotations

from gptoss_tui.server.errors import not_supported
from gptoss_tui.server.fields import Fields

_TEXT_PARTS = {
    **{"text": "text", "input_text": "text", "output_text": "text"},
    **{"summary_text": "text", "reasoning_text": "text", "refusal": "refusal"},
}
_NOT_TEXT = {
    **{"image_url": "An image", "input_image": "An image", "image": "An image"},
    **{"input_audio": "Audio", "audio": "Audio"},
    **{"file": "A file", "input_file": "A file"},
}


def read_text(fields: Fields, name: str = "content", *, optional: bool = False) -> str:
    """Read the text in a field. Raises ApiError for images, audio and files, which the models cannot read."""
    value = fields.values.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        if optional:
            return ""
        raise fields.missing(name)
    if not isinstance(value, list):
        raise fields.wrong(name, "a string or an array of parts")
    return "\n".join(_part(part) for part in fields.children(name))


def _part(part: Fields) -> str:
    kind = part.required_text("type")
    if kind in _NOT_TEXT:
        raise not_supported(f"{_NOT_TEXT[kind]} as input: the model reads text only, and that", part.param("type"))
    field = _TEXT_PARTS.get(kind)
    if field is None:
        raise part.wrong("type", "'text'")
    return part.required_text(field)
