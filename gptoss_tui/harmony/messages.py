"""Data types of a conversation: messages, tool declarations, contents of the system and developer messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gptoss_tui.harmony.effort import EFFORTS as EFFORTS
from gptoss_tui.harmony.effort import Effort as Effort

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One harmony message.

    `name` is the author of a tool message (`functions.read_file`), `recipient` the addressee. `content_type` is spelled
    as in the header, including `<|constrain|>` as in `<|constrain|>json`.
    """

    role: Role
    content: str
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class FunctionDeclaration:
    """A function as the model sees it. `parameters` is a JSON Schema, None for a function without arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolNamespace:
    """A group of functions (`functions`, `browser`), or without functions a free-text tool such as `python`."""

    name: str
    description: str | None = None
    functions: tuple[FunctionDeclaration, ...] = ()


@dataclass(frozen=True, slots=True)
class SystemContent:
    """The contents of the system message. `tools` are the built-in namespaces (browser, python)."""

    effort: Effort = "medium"
    current_date: str | None = None
    model_identity: str = "You are ChatGPT, a large language model trained by OpenAI."
    knowledge_cutoff: str | None = "2024-06"
    tools: tuple[ToolNamespace, ...] = ()
    valid_channels: tuple[str, ...] = ("analysis", "commentary", "final")


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """A form for answers, described to the model: `schema` is a JSON Schema as JSON on one line."""

    name: str
    schema: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class DeveloperContent:
    """The contents of the developer message: instructions, function tools, and the form of answers."""

    instructions: str | None = None
    functions: ToolNamespace | None = None
    response_format: ResponseFormat | None = None


@dataclass(frozen=True, slots=True)
class Preamble:
    """The messages before the first user message."""

    system: SystemContent = field(default_factory=SystemContent)
    developer: DeveloperContent | None = None


def message_to_dict(message: Message) -> dict[str, Any]:
    """The JSON form of a message: its fields, without those that are None."""
    return {key: value for key, value in asdict(message).items() if value is not None}


def message_from_dict(data: Mapping[str, Any]) -> Message:
    """The inverse of `message_to_dict`. Raises TypeError for unknown or missing fields."""
    return Message(**data)


def preamble_to_dict(preamble: Preamble) -> dict[str, Any]:
    """The JSON form of a preamble."""
    return asdict(preamble)


def preamble_from_dict(data: Mapping[str, Any]) -> Preamble:
    """The inverse of `preamble_to_dict`. Raises KeyError or TypeError for unknown or missing fields."""
    system = dict(data["system"])
    system["tools"] = tuple(_namespace(n) for n in system["tools"])
    system["valid_channels"] = tuple(system["valid_channels"])
    developer = data["developer"]
    if developer is not None:
        functions = developer["functions"]
        form = developer.get("response_format")
        developer = DeveloperContent(
            developer["instructions"],
            None if functions is None else _namespace(functions),
            None if form is None else ResponseFormat(**form),
        )
    return Preamble(SystemContent(**system), developer)


def _namespace(data: Mapping[str, Any]) -> ToolNamespace:
    functions = tuple(FunctionDeclaration(**f) for f in data["functions"])
    return ToolNamespace(data["name"], data["description"], functions)
