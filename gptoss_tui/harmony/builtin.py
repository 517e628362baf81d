"""The declarations of the built-in tools, in the words that the models were trained with.

The texts come from openai-harmony and are read from it at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptoss_tui.harmony.messages import FunctionDeclaration, ToolNamespace

if TYPE_CHECKING:
    from openai_harmony import ToolNamespaceConfig


def python_namespace() -> ToolNamespace:
    """The `python` tool: free text, no functions."""
    from openai_harmony import ToolNamespaceConfig

    return _namespace(ToolNamespaceConfig.python())


def browser_namespace(source: str) -> ToolNamespace:
    """The `browser` tool (search, open, find). `source` says where pages come from: `web`, or a search service."""
    from openai_harmony import ToolNamespaceConfig

    namespace = _namespace(ToolNamespaceConfig.browser())
    described = (namespace.description or "").splitlines()[:-1]
    return ToolNamespace(namespace.name, "\n".join((*described, f"sources={source}")), namespace.functions)


def _namespace(config: ToolNamespaceConfig) -> ToolNamespace:
    functions = tuple(FunctionDeclaration(t.name, t.description, t.parameters) for t in config.tools)
    return ToolNamespace(config.name, config.description, functions)
