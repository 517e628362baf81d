"""The tools that the server runs itself when it was told to: the browser, and Python in its sandbox.

They are the app's own, with the same limits and the same sandbox. Nobody is there to be asked, so what would need an
answer from a person and is not covered by the switch itself is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gptoss_tui.errors import GptOssError
from gptoss_tui.harmony.messages import ToolNamespace
from gptoss_tui.server.responses.tools import OwnTool
from gptoss_tui.tools.base import BuiltinTools, Citation, Effect

_ALLOWED = {"url": ("network", "workspace", "sandbox"), "python": ("sandbox",)}
"""What the switch of a tool allows: addresses of the web, and Python that reaches nothing outside of its sandbox."""


@dataclass(frozen=True, slots=True)
class OwnTools:
    """What is switched on, each a way to make the tool for one response."""

    make: dict[OwnTool, Callable[[], BuiltinTools]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[OwnTool]:
        """The tools that there are."""
        return frozenset(self.make)

    def open(self, wanted: frozenset[OwnTool]) -> ServerToolbox | None:
        """The tools of one response; None when it has none."""
        return ServerToolbox([self.make[name]() for name in sorted(wanted)]) if wanted else None


class ServerToolbox:
    """The tools of one response. `close` ends their processes."""

    def __init__(self, groups: Sequence[BuiltinTools]) -> None:
        self._groups = tuple(groups)
        self._tools = {tool.name: tool for group in self._groups for tool in group.tools}

    @property
    def namespaces(self) -> Sequence[ToolNamespace]:
        """What the system message declares."""
        return [group.namespace for group in self._groups]

    @property
    def recipients(self) -> Sequence[str]:
        """What calls are addressed to."""
        return list(self._tools)

    async def run(self, recipient: str, arguments: str) -> tuple[str, tuple[str, ...]]:
        """What the tool answers, and the addresses that it has it from."""
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
        """End what the tools started."""
        for group in self._groups:
            group.reset()


def _refused(effect: Effect) -> str:
    """Why an effect is not one that the switch allows; empty when it is."""
    if effect.must_ask:
        return f"this needs a person's answer, and none is there: {effect.must_ask[0]}"
    return "" if effect.reach in _ALLOWED.get(effect.kind, ()) else "this is not allowed here"
