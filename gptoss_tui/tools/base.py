"""The shape of a tool: declaration, permission, run.

Permission is a pure function of the request, decided before anything runs. What will happen is planned once
(`prepare`), shown to the user, and exactly that plan is run.
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
"""How far an effect can get, least first: files of the workspace through the patch engine; a sandbox without network
that passed its self-test; the network as well; everything that the user can do."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a call would do to the world: shown for approval, and bound to it by `digest`.

    `preview` is everything that runs or is written, and `digest` a hash over exactly that. `details` are facts beside
    it, each a label and a text (`in`, the folder; `sandbox`, which one). `warnings` deserve a second look.

    Rules and modes decide by the rest. `paths` are the files that are written or removed, relative to the workspace
    and without links. `commands` are the simple commands of a shell command as parsed words, wrappers such as `sudo`
    taken off; none when it could not be parsed, and then it always asks. `hosts` are the host names of addresses, in
    lower case. `mcp` is a server and its tool. `must_ask` are reasons why no mode and no rule may answer for a person.
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
    """What the call was planned from changed before it ran; nothing was done."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that a call made for the person, such as a figure: where it is, its type, and its size in bytes."""

    path: str
    mime: str
    size: int


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model reads. `ok` False marks an error; `data` is for fronts only.

    `source` names the host or the server that wrote the text, when a stranger may have: later approvals mention it.
    `artefacts` are files for the person.
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
        """Do it. Cancelling the task stops the work and leaves no process behind. Raises ToolError."""
        ...


@runtime_checkable
class RevisableCall(PreparedCall, Protocol):
    """A call that a person may change before allowing it."""

    @property
    def source(self) -> str:
        """The text to edit: a patch, a command, code."""
        ...

    async def revise(self, text: str) -> PreparedCall:
        """The call that `text` makes instead, planned anew. Raises ToolError when it makes none."""
        ...


@runtime_checkable
class RepeatableCall(PreparedCall, Protocol):
    """A call whose plan may be overtaken by what happens until it runs; `run` then raises OutdatedCallError."""

    async def again(self) -> PreparedCall:
        """The same call, planned anew from how things are now. Raises ToolError when it does not fit any more."""
        ...


@runtime_checkable
class SelectableCall(PreparedCall, Protocol):
    """A call on several files, of which a person may leave some out."""

    async def without(self, paths: tuple[str, ...]) -> PreparedCall:
        """The call on the other files, planned anew. Raises ToolError when that makes no call."""
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
    are those of the page, from 0; None when the mark names none. `cursor` is the page's, for `page_text`; -1 for none.
    """

    number: int
    title: str
    url: str
    first_line: int | None
    last_line: int | None
    span: tuple[int, int]
    cursor: int = -1


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

    @property
    def source(self) -> str:
        """Where its results come from, for people: `DuckDuckGo`, `local documents`; empty when there is no choice."""
        ...

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """The citations in an answer, in their order."""
        ...

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation of this group points at; none when it is of another or forgotten."""
        ...

    def reset(self) -> None:
        """A new conversation begins: forget the state. Processes end."""
        ...


@runtime_checkable
class RestorableTools(Protocol):
    """Tools with a state that can be had back from what the model read."""

    def restore(self, replies: Iterable[tuple[str, str]]) -> None:
        """A saved conversation goes on. `replies` are names of tools and what they answered, in order."""
        ...


@dataclass(frozen=True, slots=True)
class PromptOffer:
    """A prompt of the server whose namespace is `server`; `required` are those of its `arguments` that it needs."""

    server: str
    name: str
    description: str
    arguments: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


class ConnectedTools(BuiltinTools, Protocol):
    """Tools of another program: none until it is connected, and none again when it is gone."""

    @property
    def prompts(self) -> tuple[PromptOffer, ...]:
        """Texts that it offers a person to send."""
        ...

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """The text of one, which a person sees before it is sent. Raises ToolError."""
        ...

    async def ready(self, seconds: float) -> None:
        """Wait until it is known which tools there are, but no longer than `seconds`. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory that tools may touch. `root` is absolute and resolved."""

    root: Path
