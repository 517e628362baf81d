"""The shape of a tool: declaration, permission, run.

Permission is a pure function of the request, decided before anything runs. What will happen is planned once
(`prepare`), shown to the user, and exactly that plan is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from gptoss_tui.harmony.messages import FunctionDeclaration

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
        """Registered name without namespace: `apply_patch`."""
        ...

    @property
    def declaration(self) -> FunctionDeclaration:
        """What the model is told."""
        ...

    async def prepare(self, arguments: str) -> PreparedCall:
        """Parse and plan a call from the raw text the model wrote. Raises ToolError with advice for the model."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory that tools may touch. `root` is absolute and resolved."""

    root: Path
