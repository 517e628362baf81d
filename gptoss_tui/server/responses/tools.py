"""Reads the tools that a response may use: the client's and the server's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.server.dialogue import (
    CHOICE_MODES,
    FUNCTIONS,
    OfferedTool,
    ToolChoice,
    check_tools,
    choose_named,
    namespace_name,
    no_such_tool,
    offered_tools,
    tool_name,
)
from gptoss_tui.server.errors import ApiError, invalid, not_supported
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.schema import arguments_grammar, input_grammar

OwnTool = Literal["web_search", "code_interpreter"]

_OWN: dict[str, OwnTool] = {
    **{"web_search": "web_search", "web_search_2025_08_26": "web_search", "browser_search": "web_search"},
    **{"web_search_preview": "web_search", "web_search_preview_2025_03_11": "web_search"},
    "code_interpreter": "code_interpreter",
}
_UNASKED = ("web_search", "image_generation", "tool_search")
"""Clients such as Codex offer these without being asked to. If they are not available, they are left out."""

_ELSEWHERE = (
    *("file_search", "computer", "computer_use", "computer_use_preview", "mcp", "image_generation", "local_shell"),
    *("shell", "apply_patch", "tool_search", "programmatic_tool_calling"),
)


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """The tools of a request. `echo` is how the response lists them."""

    client: tuple[OfferedTool, ...] = ()
    own: frozenset[OwnTool] = frozenset()
    echo: tuple[dict[str, Any], ...] = ()


def read_tools(fields: Fields, enabled: frozenset[OwnTool]) -> OfferedTools:
    """Read `tools`. `enabled` are the server's own tools that may be used. Raises ApiError."""
    client: list[OfferedTool] = []
    own: set[OwnTool] = set()
    echo: list[dict[str, Any]] = []
    for tool in offered_tools(fields, "tools"):
        kind = tool.required_text("type")
        found = list(_client_tools(tool, kind))
        client += found
        hosted = _OWN.get(kind)
        if found:
            echo.append(_echo(tool, kind))
        elif hosted is not None and hosted in enabled:
            own.add(hosted)
            echo.append(dict(tool.values))
        elif (hosted or kind) not in _UNASKED:
            raise _missing(tool, kind, hosted)
    return OfferedTools(check_tools(client, fields.param("tools")), frozenset(own), tuple(echo))


def _missing(tool: Fields, kind: str, hosted: OwnTool | None) -> ApiError:
    if hosted is not None:
        flag = f"--{hosted.replace('_', '-')}"
        return invalid(f"'{kind}' is not switched on: start the server with `{flag}`.", tool.param("type"))
    if kind in _ELSEWHERE:
        return not_supported(f"A tool of type '{kind}'", tool.param("type"))
    return tool.wrong("type", "'function', 'custom', 'namespace', 'web_search' or 'code_interpreter'")


def _client_tools(tool: Fields, kind: str) -> Iterator[OfferedTool]:
    if kind == "namespace":
        namespace = namespace_name(tool)
        for member in tool.children("tools"):
            yield from _one(member, member.required_text("type"), namespace)
    else:
        yield from _one(tool, kind, "")


def _one(tool: Fields, kind: str, namespace: str) -> Iterator[OfferedTool]:
    if kind == "function":
        parameters = tool.child("parameters")
        schema = parameters.values if parameters is not None else None
        yield OfferedTool(
            "function",
            name := tool_name(tool),
            f"{namespace or FUNCTIONS}.{name}",
            tool.text("description") or "",
            namespace,
            parameters=schema,
            grammar=arguments_grammar(tool, schema, strict=tool.flag("strict", False)),
        )
    elif kind == "custom":
        name = tool_name(tool)
        recipient = f"{namespace or FUNCTIONS}.{name}"
        yield OfferedTool("custom", name, recipient, tool.text("description") or "", namespace, grammar=_grammar(tool))
    elif namespace:
        raise tool.wrong("type", "'function' or 'custom'")


def _grammar(tool: Fields) -> Grammar | None:
    style = tool.child("format")
    if style is None or style.choice("type", ("text", "grammar")) != "grammar":
        return None
    syntax = style.choice("syntax", ("lark", "regex")) or "lark"
    return input_grammar(style, syntax, style.required_text("definition"))


def _echo(tool: Fields, kind: str) -> dict[str, Any]:
    if kind != "function":
        return dict(tool.values)
    return {"description": None, "parameters": None, "strict": False, **tool.values}


def read_tool_choice(fields: Fields, tools: OfferedTools) -> ToolChoice:
    """Read `tool_choice`. Raises ApiError."""
    param = fields.param("tool_choice")
    if not fields.has("tool_choice"):
        return ToolChoice()
    if isinstance(fields.values["tool_choice"], str):
        return ToolChoice(fields.choice("tool_choice", CHOICE_MODES) or "auto")
    choice = fields.required_child("tool_choice")
    kind = choice.required_text("type")
    if kind == "allowed_tools":
        mode = choice.choice("mode", ("auto", "required"))
        only = tuple(name for tool in choice.children("tools") for name in _named(tool, tools, param))
        return ToolChoice("required" if mode == "required" else "auto", only)
    return ToolChoice("required", _named(choice, tools, param))


def _named(choice: Fields, tools: OfferedTools, param: str) -> tuple[str, ...]:
    """The recipients for a choice of a single tool."""
    kind = choice.required_text("type")
    if kind in ("function", "custom"):
        return choose_named(tools.client, [choice.required_text("name")], param)
    hosted = _OWN.get(kind)
    if hosted is None:
        raise choice.wrong("type", "'function', 'custom', 'allowed_tools', 'web_search' or 'code_interpreter'")
    if hosted not in tools.own:
        raise no_such_tool(kind, param)
    return own_recipients((hosted,))


def own_recipients(own: Sequence[OwnTool] | frozenset[OwnTool]) -> tuple[str, ...]:
    """The recipients of the server's own tools."""
    names = {"web_search": ("browser.search", "browser.open", "browser.find"), "code_interpreter": ("python",)}
    return tuple(recipient for tool in sorted(own) for recipient in names[tool])
