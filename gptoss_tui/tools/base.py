"""The shape of a tool: declaration, permission, run.

Permission is a pure function of the request, decided before anything runs. What will happen is planned once
(`prepare`), shown to the user, and exactly that plan is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from gptoss_tui.harmony.messages import FunctionDeclaration, ToolNamespace

PreviewType = Literal["diff", "command", "code", "url", "text"]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a call would do to the world: shown for approval, and bound to it by `digest`.

    `kind` groups effects for session-wide approvals (`edit`, `command`, `network`, `python`).
    """

    kind: str
    title: str
    preview: str
    preview_type: PreviewType
    digest: str
    paths: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model reads. `ok` False marks an error; `data` is for fronts only."""

    text: str
    ok: bool = True
    data: dict[str, Any] = field(default_factory=dict)


class PreparedCall(Protocol):
    """A call that was parsed and planned but has not run."""

    @property
    def summary(self) -> str:
        """One line for cards and logs: `read_file src/app.py`."""
        ...

    @property
    def effect(self) -> Effect | None:
        """What needs approval; None when the call only reads inside the workspace."""
        ...

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Do it. Cancelling the task stops the work and leaves no process behind. Raises ToolError."""
        ...


class Tool(Protocol):
    """A tool the model can call."""

    @property
    def name(self) -> str:
        """Registered name: `apply_patch` without namespace for functions, `browser.search` for built-in tools."""
        ...

    async def prepare(self, arguments: str) -> PreparedCall:
        """Parse and plan a call from the raw text the model wrote. Raises ToolError with advice for the model."""
        ...


class FunctionTool(Tool, Protocol):
    """A tool of our own: the developer message declares it as a function."""

    @property
    def declaration(self) -> FunctionDeclaration:
        """What the model is told."""
        ...


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark such as `【3†L8-L9】` in an answer, at `span` (start, end), and what it points at.

    `number` counts the cited pages of the answer from 1 and is 0 when the mark points at nothing that was shown. Lines
    are those of the page, from 0; None when the mark names none.
    """

    number: int
    title: str
    url: str
    first_line: int | None
    last_line: int | None
    span: tuple[int, int]


class BuiltinTools(Protocol):
    """Tools that the models were trained on: one namespace of the system message, with a state for the conversation."""

    @property
    def namespace(self) -> ToolNamespace:
        """What the model is told."""
        ...

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Named as the model calls them: `python`, or `browser.search`, `browser.open`, `browser.find`."""
        ...

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """The citations in an answer, in their order."""
        ...

    def reset(self) -> None:
        """A new conversation begins: forget the state. Processes end."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory that tools may touch. `root` is absolute and resolved."""

    root: Path
