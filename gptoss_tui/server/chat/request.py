"""Reads a chat completion request into a dialogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gptoss_tui.harmony.messages import Effort
from gptoss_tui.server.chat.messages import read_messages
from gptoss_tui.server.dialogue import (
    CHOICE_MODES,
    Dialogue,
    OfferedTool,
    ToolChoice,
    check_choice,
    check_tools,
    choose_named,
    fold_instructions,
    offered_tools,
    read_effort,
    tool_name,
    without_old_thoughts,
)
from gptoss_tui.server.errors import invalid
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.sampling import MAX_CHOICES, MAX_TOKENS, Defaults, read_sampling, read_stops, with_logprobs
from gptoss_tui.server.schema import arguments_grammar, input_grammar, read_format
from gptoss_tui.server.turn import Options


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A client's request. `logprobs` is the number of alternatives for each answer token, None for no logprobs."""

    dialogue: Dialogue
    options: Options
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    logprobs: int | None = None


def read_chat_request(fields: Fields, defaults: Defaults, effort: Effort) -> ChatRequest:
    """Read a chat completion request. Raises ApiError."""
    tools = read_tools(fields)
    instructions, messages = fold_instructions(None, read_messages(fields, tools))
    chosen, thinks = read_effort(fields, "reasoning_effort", effort)
    dialogue = Dialogue(
        without_old_thoughts(messages),
        instructions,
        tools,
        effort=chosen,
        thinks=thinks,
        answer=read_format(fields, "response_format", "json_schema"),
    )
    choice = _tool_choice(fields, tools)
    check_choice(dialogue, choice, fields.param("tool_choice"))
    dialogue = replace(dialogue, choice=choice)
    logprobs = _logprobs(fields)
    return ChatRequest(
        dialogue,
        _options(fields, defaults, logprobs),
        choices=fields.integer("n", 1, MAX_CHOICES) or 1,
        stream=fields.flag("stream", False),
        include_usage=_include_usage(fields),
        logprobs=logprobs,
    )


def read_tools(fields: Fields) -> tuple[OfferedTool, ...]:
    """Read `tools`, or `functions` as they were formerly called. Raises ApiError."""
    found = [_tool(tool) for tool in offered_tools(fields, "tools")]
    found += [_function(function) for function in offered_tools(fields, "functions")]
    return check_tools(found, fields.param("tools"))


def _tool(tool: Fields) -> OfferedTool:
    match tool.required_text("type"):
        case "function":
            return _function(tool.required_child("function"))
        case "custom":
            return _custom(tool.required_child("custom"))
        case _:
            raise tool.wrong("type", "'function' or 'custom'")


def _function(function: Fields) -> OfferedTool:
    name = tool_name(function)
    parameters = function.child("parameters")
    schema = parameters.values if parameters is not None else None
    return OfferedTool(
        "function",
        name,
        f"functions.{name}",
        function.text("description") or "",
        parameters=schema,
        grammar=arguments_grammar(function, schema, strict=function.flag("strict", False)),
    )


def _custom(custom: Fields) -> OfferedTool:
    name = tool_name(custom)
    style = custom.child("format")
    grammar = None
    if style is not None and style.choice("type", ("text", "grammar")) == "grammar":
        definition = style.required_child("grammar")
        syntax = definition.choice("syntax", ("lark", "regex")) or "lark"
        grammar = input_grammar(definition, syntax, definition.required_text("definition"))
    return OfferedTool("custom", name, f"functions.{name}", custom.text("description") or "", grammar=grammar)


def _tool_choice(fields: Fields, tools: Sequence[OfferedTool]) -> ToolChoice:
    name = "tool_choice" if fields.has("tool_choice") or not fields.has("function_call") else "function_call"
    if not fields.has(name):
        return ToolChoice()
    param = fields.param(name)
    if isinstance(fields.values[name], str):
        return ToolChoice(fields.choice(name, CHOICE_MODES) or "auto")
    choice = fields.required_child(name)
    if name == "function_call":
        return ToolChoice("required", choose_named(tools, [choice.required_text("name")], param))
    kind = choice.choice("type", ("function", "custom", "allowed_tools")) or "function"
    if kind == "allowed_tools":
        allowed = choice.required_child("allowed_tools")
        mode = allowed.choice("mode", ("auto", "required"))
        names = _allowed_names(allowed.children("tools"))
        return ToolChoice("required" if mode == "required" else "auto", choose_named(tools, names, param))
    return ToolChoice("required", choose_named(tools, [choice.required_child(kind).required_text("name")], param))


def _allowed_names(tools: Iterable[Fields]) -> list[str]:
    return [
        tool.required_child(tool.choice("type", ("function", "custom")) or "function").required_text("name")
        for tool in tools
    ]


def _options(fields: Fields, defaults: Defaults, logprobs: int | None) -> Options:
    limits = [fields.integer(name, 1, MAX_TOKENS) for name in ("max_completion_tokens", "max_tokens")]
    return Options(
        with_logprobs(read_sampling(fields, defaults.sampling), logprobs),
        max_tokens=next((limit for limit in limits if limit is not None), defaults.sampling.max_tokens),
        stops=read_stops(fields),
        repeated_tokens=defaults.repeated_tokens,
    )


def _logprobs(fields: Fields) -> int | None:
    top = fields.integer("top_logprobs", 0, 20)
    if not fields.flag("logprobs", False):
        if top:
            raise invalid("'top_logprobs' needs 'logprobs' to be true.", fields.param("top_logprobs"))
        return None
    return top or 0


def _include_usage(fields: Fields) -> bool:
    options = fields.child("stream_options")
    return options is not None and options.flag("include_usage", False)
