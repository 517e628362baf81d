"""The tools that hosts are offered: names, descriptions and schemas."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from mcp.types import Tool, ToolAnnotations

from gptoss_tui.harmony.builtin import browser_namespace, python_namespace
from gptoss_tui.harmony.messages import EFFORTS

Group = Literal["browser", "python", "apply_patch", "ask"]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)

ASK: Final = "ask"

REGISTERED: Final = {
    "search": "browser.search",
    "open": "browser.open",
    "find": "browser.find",
    "python": "python",
    "apply_patch": "apply_patch",
}
"""The host's name of each tool, and our own name of it."""

_PATCH: Final = """\
Create, change, move and delete files of the folder that this server was started for. All of a patch is applied, or \
nothing is. `input` has the form

*** Begin Patch
*** Add File: path/new.txt
+every line of the file
*** Update File: path/old.py
@@ def name():
 context
-old line
+new line
*** Delete File: path/gone.txt
*** End Patch"""

_ASK: Final = """\
Let the coding agent gptoss-tui do something in the folder that this server was started for, on its own model. It \
reads and searches files, and may change them and use more tools as far as it is allowed to. It knows nothing of your \
conversation: say all that it needs. Gives its final answer."""

_ASK_OUTPUT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "complete": {"type": "boolean", "description": "false when a limit cut the answer or the turn failed"},
        "citations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "label": {"type": "string"},
                    "title": {"type": "string"},
                    "url": {"type": "string"},
                    "first_line": {"type": ["integer", "null"]},
                    "last_line": {"type": ["integer", "null"]},
                },
                "required": ["label", "title", "url"],
            },
        },
        "files": {"type": "array", "items": {"type": "string"}, "description": "files that were changed"},
        "session": {"type": "string", "description": "gptoss-tui --resume goes on with this conversation"},
    },
    "required": ["answer", "complete", "citations", "files", "session"],
}


def offered(groups: tuple[Group, ...]) -> list[Tool]:
    """The tools of `groups`."""
    tools: list[Tool] = []
    if "browser" in groups:
        tools += _browser()
    if "python" in groups:
        tools.append(_python())
    if "apply_patch" in groups:
        tools.append(_text_tool("apply_patch", _PATCH, "input", "The patch", destructive=True))
    if "ask" in groups:
        tools.append(_ask())
    return tools


def instructions(groups: tuple[Group, ...]) -> str:
    """The server's instructions for a host's model. A single namespace has its own description."""
    if groups == ("browser",):
        return browser_namespace("web").description or ""
    if groups == ("python",):
        return python_namespace().description or ""
    words = {
        "browser": "`search`, `open` and `find` read the web; a page's number in brackets is its `cursor`.",
        "python": "`python` runs code in a sandbox and keeps its variables.",
        "apply_patch": "`apply_patch` changes files.",
        "ask": "`ask` lets a coding agent with a model of its own work in the folder.",
    }
    return "\n".join(words[group] for group in groups)


def _browser() -> list[Tool]:
    """The browser tools as the models were trained with them."""
    annotations = ToolAnnotations(read_only_hint=True, open_world_hint=True)
    return [
        Tool(
            name=function.name,
            description=function.description,
            input_schema={"type": "object", "properties": {}, **(function.parameters or {})},
            annotations=annotations,
        )
        for function in browser_namespace("web").functions
    ]


def _python() -> Tool:
    tool = _text_tool("python", python_namespace().description or "", "code", "Python code", destructive=False)
    # Hosts that build a prompt for these models from the list of tools must leave this one out: the models send it
    # plain text.
    return tool.model_copy(update={"meta": {"include_in_prompt": False}})


def _text_tool(name: str, description: str, argument: str, about: str, *, destructive: bool) -> Tool:
    schema = {
        "type": "object",
        "properties": {argument: {"type": "string", "description": about}},
        "required": [argument],
    }
    annotations = ToolAnnotations(read_only_hint=False, destructive_hint=destructive, open_world_hint=False)
    return Tool(name=name, description=description, input_schema=schema, annotations=annotations)


def _ask() -> Tool:
    schema = {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "description": "What it should do"},
            "effort": {"type": "string", "enum": list(EFFORTS), "description": "How long it thinks"},
            "go_on": {
                "type": "boolean",
                "default": False,
                "description": "Go on with the conversation of the last call instead of a new one",
            },
        },
        "required": ["prompt"],
    }
    annotations = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=True)
    return Tool(name=ASK, description=_ASK, input_schema=schema, output_schema=_ASK_OUTPUT, annotations=annotations)
