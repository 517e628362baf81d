"""The interfaces that every tool implements: its declaration, the effect to approve, and the run.

Permission is a pure function of the request and is decided before anything runs. `prepare` plans a call once; that
plan is shown to the user, and exactly that plan is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration, ToolNamespace
from gptoss_tui.tools.expansion import Words

PreviewType = Literal["diff", "command", "code", "url", "text"]

EffectKind = Literal["edit", "command", "python", "url", "mcp"]
"""What an effect does: change files, run a shell command, run Python, fetch an address, call another program's tool."""

Reach = Literal["workspace", "sandbox", "network", "host"]
"""How far an effect can reach, from least to most: workspace files through the patch engine; a sandbox without network
that passed its self-test; the network as well; everything that the user can do."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a call would do to the world. It is shown for approval; `digest` ties the approval to this exact effect.

    `preview` is everything that will be run or written, and `digest` is a hash of exactly that. `details` are further
    facts as pairs of label and text (`in`: the folder; `sandbox`: which one). `warnings` deserve a second look.

    Rules and modes decide by the other fields. `paths` are the files that are written or removed, relative to the
    workspace, with links resolved. `commands` are the simple commands of a shell command as parsed words, without
    wrappers such as `sudo`. When the command could not be fully parsed, it is empty or contains an empty one, and then
    the user is always asked. `hosts` are the host names of addresses, in lower case. `mcp` is a server and its tool.
    `must_ask` lists the reasons why no mode or rule may answer in place of the user.
    """

    kind: EffectKind
    title: str
    preview: str
    preview_type: PreviewType
    digest: str
    paths: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reach: Reach = "host"
    commands: tuple[Words, ...] = ()
    hosts: tuple[str, ...] = ()
    mcp: tuple[str, str] | None = None
    must_ask: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()


class OutdatedCallError(ToolError):
    """The state that the call was planned from changed before it ran; nothing was done."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that a call made for the user, such as a figure: its path, MIME type and size in bytes."""

    path: str
    mime: str
    size: int


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The text that the model reads. `ok` is False for an error; `data` is for the user interfaces only.

    `source` names the host or server that the text came from if it may have been written by a third party; later
    approvals mention it. `artefacts` are files for the user.
    """

    text: str
    ok: bool = True
    data: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    artefacts: tuple[Artefact, ...] = ()


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
        """Carry out the call. Cancelling the task stops the work and leaves no process behind. Raises ToolError."""
        ...


@runtime_checkable
class RevisableCall(PreparedCall, Protocol):
    """A call that the user may change before allowing it."""

    @property
    def source(self) -> str:
        """The text to edit: a patch, a command, code."""
        ...

    async def revise(self, text: str) -> PreparedCall:
        """Return a newly planned call for the edited `text`. Raises ToolError when `text` is not a valid call."""
        ...


@runtime_checkable
class RepeatableCall(PreparedCall, Protocol):
    """A call whose plan may be out of date by the time it runs; `run` then raises OutdatedCallError."""

    async def again(self) -> PreparedCall:
        """Plan the same call again from the current state. Raises ToolError when it no longer applies."""
        ...


@runtime_checkable
class SelectableCall(PreparedCall, Protocol):
    """A call on several files, some of which the user may leave out."""

    async def without(self, paths: tuple[str, ...]) -> PreparedCall:
        """Plan the call again without the files `paths`. Raises ToolError when no valid call remains."""
        ...


class Tool(Protocol):
    """A tool the model can call."""

    @property
    def name(self) -> str:
        """The registered name: without namespace for functions (`apply_patch`), with it for built-in tools that have
        several (`browser.search`)."""
        ...

    async def prepare(self, arguments: str) -> PreparedCall:
        """Parse and plan a call from the raw text the model wrote. Raises ToolError with advice for the model."""
        ...


class FunctionTool(Tool, Protocol):
    """A tool of our own, declared as a function in the developer message."""

    @property
    def declaration(self) -> FunctionDeclaration:
        """The declaration that the model reads."""
        ...


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark such as `【3†L8-L9】` in an answer, at `span` (start, end), and what it points at.

    `number` numbers the cited pages of the answer from 1; it is 0 when the mark points at nothing that was shown.
    Lines are counted from 0 within the page, and are None when the mark names none. `cursor` identifies the page for
    `page_text`; -1 when there is none.
    """

    number: int
    title: str
    url: str
    first_line: int | None
    last_line: int | None
    span: tuple[int, int]
    cursor: int = -1


class BuiltinTools(Protocol):
    """Tools that the models were trained on: one namespace of the system message, with state for each conversation."""

    @property
    def namespace(self) -> ToolNamespace:
        """The description that the model reads."""
        ...

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools, named as the model calls them: `python`, or `browser.search`, `browser.open`, `browser.find`."""
        ...

    @property
    def source(self) -> str:
        """Where the results come from, for users: `DuckDuckGo`, `local documents`; empty when there is no choice."""
        ...

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """The citations in an answer, in their order."""
        ...

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation points at; empty if the page is not this group's or was forgotten."""
        ...

    def reset(self) -> None:
        """Forget the state and end all processes, because a new conversation begins."""
        ...


@runtime_checkable
class RestorableTools(Protocol):
    """Tools whose state can be restored from the replies that the model read."""

    def restore(self, replies: Iterable[tuple[str, str]]) -> None:
        """Restore the state of a saved conversation. `replies` are pairs of tool name and answer, in order."""
        ...


@dataclass(frozen=True, slots=True)
class PromptOffer:
    """A prompt offered by the server with namespace `server`. `required` names those `arguments` that must be given."""

    server: str
    name: str
    description: str
    arguments: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


class ConnectedTools(BuiltinTools, Protocol):
    """Tools of another program. There are none until it is connected, and none after it is gone."""

    @property
    def prompts(self) -> tuple[PromptOffer, ...]:
        """The prompts that the program offers the user."""
        ...

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """Return the text of a prompt; the user sees it before it is sent. Raises ToolError."""
        ...

    async def ready(self, seconds: float) -> None:
        """Wait until the program's tools are known, but no longer than `seconds`. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory that tools may touch. `root` is absolute and resolved."""

    root: Path
