"""The conversation as values: messages, tool declarations, and what the system and developer messages say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]
Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Message:
    """One harmony message.

    `name` is the author of a tool message (`functions.read_file`); `recipient` whom it is for; `content_type` as the
    header says it, `<|constrain|>json` included.
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
    """A group of functions: `functions`, `browser`; or, with no functions, a free-text tool such as `python`."""

    name: str
    description: str | None = None
    functions: tuple[FunctionDeclaration, ...] = ()


@dataclass(frozen=True, slots=True)
class SystemContent:
    """What the system message says. `tools` are the built-in namespaces (browser, python)."""

    effort: Effort = "medium"
    current_date: str | None = None
    model_identity: str = "You are ChatGPT, a large language model trained by OpenAI."
    knowledge_cutoff: str | None = "2024-06"
    tools: tuple[ToolNamespace, ...] = ()
    valid_channels: tuple[str, ...] = ("analysis", "commentary", "final")


@dataclass(frozen=True, slots=True)
class DeveloperContent:
    """What the developer message says: instructions and function tools."""

    instructions: str | None = None
    functions: ToolNamespace | None = None


@dataclass(frozen=True, slots=True)
class Preamble:
    """The messages before the first user message."""

    system: SystemContent = field(default_factory=SystemContent)
    developer: DeveloperContent | None = None
