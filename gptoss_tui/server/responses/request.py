"""Reads a request for a response into a dialogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gptoss_tui.harmony.messages import Effort, Message
from gptoss_tui.server.dialogue import Dialogue, check_choice, fold_instructions, read_effort, without_old_thoughts
from gptoss_tui.server.errors import invalid, not_supported
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.responses.items import read_items
from gptoss_tui.server.responses.tools import OfferedTools, OwnTool, read_tool_choice, read_tools
from gptoss_tui.server.sampling import MAX_TOKENS, Defaults, read_sampling, with_logprobs
from gptoss_tui.server.schema import read_format
from gptoss_tui.server.turn import MAX_TOOL_CALLS, Options

_LOGPROBS = "message.output_text.logprobs"
_INCLUDES = (
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    *("message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs"),
    *("reasoning.encrypted_content", _LOGPROBS),
)
_SUMMARIES = ("auto", "concise", "detailed", "none")
_ELSEWHERE = ("conversation", "prompt", "context_management")


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A client's request. `echo` are the fields that the response repeats.

    `logprobs` is the number of alternatives for each answer token, None for no logprobs.
    """

    dialogue: Dialogue
    options: Options
    tools: OfferedTools
    include: frozenset[str]
    logprobs: int | None
    summary: str
    stream: bool
    store: bool
    background: bool
    truncate: bool
    echo: Mapping[str, Any]


def read_request(
    fields: Fields,
    items: Sequence[Mapping[str, Any]],
    before: Sequence[Mapping[str, Any]],
    defaults: Defaults,
    effort: Effort,
    enabled: frozenset[OwnTool],
) -> ResponsesRequest:
    """Read a request. `items` are its own input, `before` those of the responses that it continues. Raises ApiError."""
    for name in _ELSEWHERE:
        if fields.has(name):
            raise not_supported(f"'{name}'", fields.param(name))
    tools = read_tools(fields, enabled)
    messages = read_items([*before, *items], tools.client, "input" if not before else "")
    reasoning = fields.child("reasoning") or Fields({}, "reasoning")
    dialogue = _dialogue(fields, messages, tools, *read_effort(reasoning, "effort", effort))
    store, background = fields.flag("store", True), fields.flag("background", False)
    if background and not store:
        raise invalid("A response in the background must be stored.", fields.param("store"))
    include, top = _include(fields), fields.integer("top_logprobs", 0, 20)
    logprobs = (top or 0) if _LOGPROBS in include else None
    return ResponsesRequest(
        dialogue,
        _options(fields, defaults, logprobs),
        tools,
        include,
        logprobs,
        _summary(reasoning),
        stream=fields.flag("stream", False),
        store=store,
        background=background,
        truncate=fields.choice("truncation", ("auto", "disabled")) == "auto",
        echo=_echo(fields, tools, dialogue),
    )


def _dialogue(
    fields: Fields, messages: Iterable[Message], tools: OfferedTools, effort: Effort, thinks: bool
) -> Dialogue:
    instructions, rest = fold_instructions(fields.text("instructions"), messages)
    text = fields.child("text") or Fields({}, "text")
    answer = read_format(text, "format", None)
    dialogue = Dialogue(
        without_old_thoughts(rest), instructions, tools.client, effort=effort, thinks=thinks, answer=answer
    )
    choice = read_tool_choice(fields, tools)
    if not tools.own:
        check_choice(dialogue, choice, fields.param("tool_choice"))
    return replace(dialogue, choice=choice)


def _options(fields: Fields, defaults: Defaults, logprobs: int | None) -> Options:
    calls = fields.integer("max_tool_calls", 0, 1000)
    return Options(
        with_logprobs(read_sampling(fields, defaults.sampling), logprobs),
        max_tokens=fields.integer("max_output_tokens", 1, MAX_TOKENS) or defaults.sampling.max_tokens,
        max_tool_calls=MAX_TOOL_CALLS if calls is None else calls,
        repeated_tokens=defaults.repeated_tokens,
    )


def _include(fields: Fields) -> frozenset[str]:
    names = fields.texts("include") or ()
    for name in names:
        if name not in _INCLUDES:
            raise invalid(f"Invalid value for 'include': {name[:80]!r} is not known.", fields.param("include"))
    return frozenset(names)


def _summary(reasoning: Fields) -> str:
    wanted = reasoning.choice("summary", _SUMMARIES) or reasoning.choice("generate_summary", _SUMMARIES)
    return wanted or "none"


def _echo(fields: Fields, tools: OfferedTools, dialogue: Dialogue) -> dict[str, Any]:
    """The fields that the response repeats. Checks those that are not checked elsewhere."""
    fields.flag("parallel_tool_calls", True)
    metadata = fields.child("metadata")
    if metadata is not None and not all(isinstance(value, str) for value in metadata.values.values()):
        raise fields.wrong("metadata", "an object of strings")
    text = fields.child("text")
    style = text.values.get("format") if text is not None else None
    reasoning = fields.child("reasoning")
    return {
        "instructions": fields.text("instructions"),
        "max_output_tokens": fields.values.get("max_output_tokens"),
        "max_tool_calls": fields.values.get("max_tool_calls"),
        "metadata": dict(metadata.values) if metadata is not None else {},
        "parallel_tool_calls": False,  # regardless of the request: the models make one call at a time
        "previous_response_id": fields.text("previous_response_id"),
        "prompt_cache_key": fields.text("prompt_cache_key"),
        "reasoning": {
            "effort": dialogue.effort if dialogue.thinks else "none",
            "summary": reasoning.values.get("summary") if reasoning is not None else None,
        },
        "safety_identifier": fields.text("safety_identifier"),
        "service_tier": "default",
        "text": {"format": style or {"type": "text"}, "verbosity": _verbosity(text)},
        "tool_choice": fields.values.get("tool_choice") or "auto",
        "tools": list(tools.echo),
        "top_logprobs": fields.values.get("top_logprobs") or 0,
        "truncation": fields.text("truncation") or "disabled",
        "user": fields.text("user"),
    }


def _verbosity(text: Fields | None) -> str:
    return (text.choice("verbosity", ("low", "medium", "high")) if text is not None else None) or "medium"
