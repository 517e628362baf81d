"""The content of a request in one form for all APIs: messages, tools, and the form of the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.harmony.messages import (
    DeveloperContent,
    Effort,
    FunctionDeclaration,
    Message,
    Preamble,
    SystemContent,
    ToolNamespace,
)
from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.schema import MAX_GRAMMAR, TEXT, AnswerFormat

JSON = "<|constrain|>json"
"""The content type of calls with JSON arguments, spelled as the models do."""

FUNCTIONS = "functions"

MAX_TOOLS = 256
MAX_TOOLS_SIZE = 2**20
"""Characters of all tools as JSON. They have to be checked, rendered and encoded before anything is answered."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_RESERVED = ("browser", "python", "assistant", "user", "system", "developer", "tool")

_EFFORTS: Mapping[str, Effort] = {
    **{"none": "low", "minimal": "low", "low": "low", "medium": "medium"},
    **{"high": "high", "xhigh": "high", "max": "high"},
}

ToolKind = Literal["function", "custom"]
ChoiceMode = Literal["none", "auto", "required"]
CHOICE_MODES: tuple[ChoiceMode, ...] = get_args(ChoiceMode)


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool of the client. `recipient` is the name that the model calls it by.

    A function takes JSON described by `parameters`, a custom tool takes any text. `grammar` restricts what the model
    writes.
    """

    kind: ToolKind
    name: str
    recipient: str
    description: str = ""
    namespace: str = ""
    parameters: Mapping[str, Any] | None = None
    grammar: Grammar | None = None

    @property
    def size(self) -> int:
        """Approximate length of its declaration in characters. A schema that is not enforced counts as large."""
        if self.grammar is None:
            return len(self.description) + (MAX_GRAMMAR if self.parameters else 0)
        return len(self.description) + len(self.grammar.text)

    @property
    def declaration(self) -> FunctionDeclaration:
        """The declaration for the model. A custom tool takes one text, like apply_patch, which the models know."""
        if self.kind == "function":
            return FunctionDeclaration(self.name, self.description, self.parameters)
        note = ""
        if self.grammar is not None:
            note = f"\nThe text must match this {self.grammar.kind} grammar:\n{self.grammar.text}"
        return FunctionDeclaration(self.name, self.description + note, {"type": "string"})


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools may (`auto`), must or must not be called. `only` limits the choice to some; empty means all."""

    mode: ChoiceMode = "auto"
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What the model reads. `messages` include only thoughts still relevant; `thinks` says whether it may think."""

    messages: tuple[Message, ...]
    instructions: str | None = None
    tools: tuple[OfferedTool, ...] = ()
    choice: ToolChoice = ToolChoice()
    effort: Effort = "medium"
    thinks: bool = True
    answer: AnswerFormat = TEXT

    @property
    def recipients(self) -> tuple[str, ...]:
        """The tools that the model may call."""
        if self.choice.mode == "none":
            return ()
        return self.choice.only or tuple(tool.recipient for tool in self.tools)

    @property
    def arguments(self) -> dict[str, Grammar]:
        """The grammar for calls to each recipient."""
        return {tool.recipient: tool.grammar for tool in self.tools if tool.grammar is not None}

    @property
    def size_of_tools(self) -> int:
        """Approximate size of their JSON in characters: how much there is to render."""
        return sum(tool.size for tool in self.tools)

    def tool(self, recipient: str) -> OfferedTool | None:
        """The tool with that recipient."""
        return next((tool for tool in self.tools if tool.recipient == recipient), None)

    def preamble(self, date: str, builtin: Sequence[ToolNamespace] = ()) -> Preamble:
        """The system and developer messages. `builtin` are the server's own tools."""
        functions = tuple(tool.declaration for tool in self.tools if not tool.namespace)
        namespaces = {tool.namespace: None for tool in self.tools if tool.namespace}
        others = (
            ToolNamespace(name, functions=tuple(tool.declaration for tool in self.tools if tool.namespace == name))
            for name in namespaces
        )
        developer = None
        instructions = "\n\n".join(text for text in (self.instructions, self.answer.told) if text)
        if instructions or functions:
            declared = ToolNamespace(FUNCTIONS, functions=functions) if functions else None
            developer = DeveloperContent(instructions or None, declared)
        return Preamble(SystemContent(self.effort, date, tools=(*builtin, *others)), developer)


def read_effort(fields: Fields, name: str, default: Effort) -> tuple[Effort, bool]:
    """Read the effort that a request asks for, and whether the model may think at all."""
    word = fields.choice(name, _EFFORTS)
    return (default, True) if word is None else (_EFFORTS[word], word != "none")


def developer_message(text: str) -> Message:
    """Instructions inside a conversation."""
    return Message("developer", f"# Instructions\n\n{text}")


def tool_call(tool: OfferedTool | None, recipient: str, arguments: str) -> Message:
    """A call by the assistant."""
    kind = None if tool is not None and tool.kind == "custom" else JSON
    return Message("assistant", arguments, channel="commentary", recipient=recipient, content_type=kind)


def tool_reply(recipient: str, text: str) -> Message:
    """The reply of a client's tool."""
    return Message("tool", text, channel="commentary", recipient="assistant", name=recipient)


def without_old_thoughts(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Drop thoughts from before the last answer: the models were trained without them."""
    every = tuple(messages)
    answers = [i for i, m in enumerate(every) if m.role == "assistant" and m.channel == "final"]
    last = answers[-1] if answers else 0
    return tuple(m for i, m in enumerate(every) if i >= last or m.channel != "analysis")


def fold_instructions(instructions: str | None, messages: Iterable[Message]) -> tuple[str | None, tuple[Message, ...]]:
    """Merge developer messages at the very beginning into the instructions."""
    every = tuple(messages)
    first = next((i for i, m in enumerate(every) if m.role != "developer"), len(every))
    prefix = developer_message("").content
    parts = [instructions, *(m.content.removeprefix(prefix) for m in every[:first])]
    return "\n\n".join(part for part in parts if part) or None, every[first:]


def offered_tools(fields: Fields, name: str) -> Iterator[Fields]:
    """The tools in a field, not parsed yet. Raises ApiError if parsing them would be too much work."""
    size = len(json.dumps(fields.list(name)))
    if size > MAX_TOOLS_SIZE:
        raise invalid(f"The tools have {size} characters; at most {MAX_TOOLS_SIZE} are read.", fields.param(name))
    return fields.children(name)


def check_tools(tools: Sequence[OfferedTool], param: str) -> tuple[OfferedTool, ...]:
    """Return the tools if their names are all different. Raises ApiError."""
    if len(tools) > MAX_TOOLS:
        raise invalid(f"At most {MAX_TOOLS} tools can be offered, got {len(tools)}.", param)
    seen: set[str] = set()
    for tool in tools:
        if tool.recipient in seen:
            raise invalid(f"Two tools are called {tool.recipient!r}.", param)
        seen.add(tool.recipient)
    return tuple(tools)


def tool_name(fields: Fields, name: str = "name") -> str:
    """Read a tool's name, which the model must be able to write in a header. Raises ApiError."""
    value = fields.required_text(name)
    if not _NAME.fullmatch(value):
        raise fields.wrong(name, "a name of at most 128 letters, digits, '_' and '-'")
    return value


def namespace_name(fields: Fields) -> str:
    """Read the name of a group of tools, which must not be one of harmony's own. Raises ApiError."""
    value = tool_name(fields)
    if value in (FUNCTIONS, *_RESERVED):
        raise invalid(f"The namespace {value!r} is reserved.", fields.param("name"))
    return value


def choose_named(tools: Sequence[OfferedTool], names: Iterable[str], param: str) -> tuple[str, ...]:
    """The recipients of the tools named in a choice. Raises ApiError."""
    found = []
    for name in names:
        matching = [tool.recipient for tool in tools if tool.name == name]
        if not matching:
            raise no_such_tool(name, param)
        found += matching
    return tuple(found)


def no_such_tool(name: str, param: str) -> ApiError:
    """The error for a choice of a tool that was not offered."""
    return invalid(f"Tool choice {name[:80]!r} not found in 'tools'.", param)


def check_choice(dialogue: Dialogue, choice: ToolChoice, param: str) -> None:
    """Raise ApiError if a call is required but there are no tools."""
    if choice.mode == "required" and not dialogue.tools:
        raise invalid("Tool choice 'required' needs at least one tool in 'tools'.", param)
