"""The same conversations built with openai-harmony, whose rendering ours has to equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import openai_harmony as lib
from openai_harmony import ReasoningEffort, RenderConversationConfig, ToolNamespaceConfig

from gptoss_tui.harmony.messages import Message, Preamble, ToolNamespace
from gptoss_tui.harmony.tokenizer import load_tokenizer


def encoding() -> lib.HarmonyEncoding:
    load_tokenizer()  # leaves the vocabulary where the library finds it
    return load_tokenizer()._encoding


def render(messages: Sequence[lib.Message]) -> list[int]:
    conversation = lib.Conversation.from_messages(list(messages))
    return encoding().render_conversation(conversation, RenderConversationConfig(auto_drop_analysis=False))


def message(ours: Message) -> lib.Message:
    author = lib.Author(role=lib.Role(ours.role), name=ours.name)
    theirs = lib.Message.from_author_and_content(author, ours.content)
    theirs.channel, theirs.recipient, theirs.content_type = ours.channel, ours.recipient, ours.content_type
    return theirs


def namespace(ours: ToolNamespace) -> ToolNamespaceConfig:
    tools = [lib.ToolDescription.new(f.name, f.description, _plain(f.parameters)) for f in ours.functions]
    return ToolNamespaceConfig(name=ours.name, description=ours.description, tools=tools)


def preamble(ours: Preamble) -> list[lib.Message]:
    system = lib.SystemContent.new().with_model_identity(ours.system.model_identity)
    system = system.with_reasoning_effort(ReasoningEffort(ours.system.effort.capitalize()))
    system = system.with_required_channels(list(ours.system.valid_channels))
    system.knowledge_cutoff = ours.system.knowledge_cutoff
    system.conversation_start_date = ours.system.current_date
    for tool in ours.system.tools:
        system = system.with_tools(namespace(tool))
    messages = [lib.Message.from_role_and_content(lib.Role.SYSTEM, system)]
    if ours.developer is not None:
        developer = lib.DeveloperContent.new()
        developer.instructions = ours.developer.instructions
        if ours.developer.functions is not None:
            developer = developer.with_tools(namespace(ours.developer.functions))
        messages.append(lib.Message.from_role_and_content(lib.Role.DEVELOPER, developer))
    return messages


def parameter_type(schema: dict[str, Any]) -> str:
    """The TypeScript that the library makes of a schema."""
    tool = lib.ToolDescription.new("f", "", schema)
    developer = lib.DeveloperContent.new().with_function_tools([tool])
    text = encoding().decode(encoding().render(lib.Message.from_role_and_content(lib.Role.DEVELOPER, developer)))
    return text.split("type f = (_: ", 1)[1].rsplit(") => any;", 1)[0]


def _plain(parameters: Any) -> dict[str, Any] | None:
    return None if parameters is None else dict(parameters)
