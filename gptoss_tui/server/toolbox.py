"""The tools that the server can run itself: the browser, and Python in its sandbox.

They are the app's own tools, with the same limits and the same sandbox. There is no user to ask, so any call that would
need approval and is not covered by enabling the tool is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gptoss_tui.errors import GptOssError
from gptoss_tui.harmony.messages import ToolNamespace
from gptoss_tui.server.responses.tools import OwnTool
from gptoss_tui.tools.base import BuiltinTools, Citation, Effect

_ALLOWED = {"url": ("network", "workspace", "sandbox"), "python": ("sandbox",)}
"""What enabling a tool allows: web addresses, and Python that reaches nothing outside of its sandbox."""


@dataclass(frozen=True, slots=True)
class OwnTools:
    """The enabled tools, each with a function that creates it for one response."""

    make: dict[OwnTool, Callable[[], BuiltinTools]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[OwnTool]:
        """The enabled tools."""
        return frozenset(self.make)

    def open(self, wanted: frozenset[OwnTool]) -> ServerToolbox | None:
        """Create the tools for one response; None if it uses none."""
        return ServerToolbox([self.make[name]() for name in sorted(wanted)]) if wanted else None


class ServerToolbox:
    """The server's tools for one response. `close` ends their processes."""

    def __init__(self, groups: Sequence[BuiltinTools]) -> None:
        self._groups = tuple(groups)
        self._tools = {tool.name: tool for group in self._groups for tool in group.tools}

    @property
    def namespaces(self) -> Sequence[ToolNamespace]:
        """The declarations for the system message."""
        return [group.namespace for group in self._groups]

    @property
    def recipients(self) -> Sequence[str]:
        """The names that calls are addressed to."""
        return list(self._tools)

    async def run(self, recipient: str, arguments: str) -> tuple[str, tuple[str, ...]]:
        """Run a call. Returns the tool's output and the addresses that it comes from."""
        try:
            call = await self._tools[recipient].prepare(arguments)
            if call.effect is not None and (refused := _refused(call.effect)):
                return f"Error: {refused}", ()
            result = await call.run(lambda text: None)
        except GptOssError as error:
            return f"Error: {error.message}", ()
        url = result.data.get("url")
        return result.text, (url,) if isinstance(url, str) and url else ()

    def cite(self, answer: str) -> Sequence[Citation]:
        """The citations in an answer."""
        return [citation for group in self._groups for citation in group.cite(answer)]

    def close(self) -> None:
        """End everything that the tools started."""
        for group in self._groups:
            group.reset()


def _refused(effect: Effect) -> str:
    """Why an effect is not allowed; empty if it is."""
    if effect.must_ask:
        return f"this needs a person's answer, and none is there: {effect.must_ask[0]}"
    return "" if effect.reach in _ALLOWED.get(effect.kind, ()) else "this is not allowed here"
