"""Typed events of a turn: the single stream that every front end consumes.

Events are upserts by id: `item_id` names a message or a tool call of the turn, deltas extend it, and the closing event
carries its whole content. `to_dict` returns the JSON form documented in `docs/events.md`, with one `type` per class.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gptoss_tui.agent.decode import decode
from gptoss_tui.harmony.messages import Effort
from gptoss_tui.settings import Mode
from gptoss_tui.tools.base import Artefact, Citation, PreviewType

SCHEMA_VERSION = 1

TurnEnd = Literal["done", "interrupted", "limit", "failed"]
ToolStatus = Literal["ok", "error", "denied", "cancelled"]
RunawayKind = Literal["tokens", "calls"]
DecisionKind = Literal["once", "session", "always", "deny", "edit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. `turn_id` is empty for events outside a turn."""

    turn_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Event):
    """A user message was accepted. `session` is the id of the session file (empty when nothing is saved)."""

    text: str
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered(Event):
    """The running turn took a message from the user; the model reads it in its next step."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortChanged(Event):
    """The reasoning effort changes with the next step. `tokens` cached tokens must be prefilled again for it."""

    effort: Effort
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptProgress(Event):
    """Prefill progress of one step: `done` of `total` prompt tokens are in the cache, `cached` of them from before."""

    step: int
    total: int
    done: int
    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta(Event):
    """A piece of the chain of thought as it streams."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDone(Event):
    """A complete reasoning message: its text, number of sampled tokens, and seconds."""

    item_id: str
    text: str
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDelta(Event):
    """A piece of the answer as it streams. `preamble` marks a commentary message to the user before tool calls."""

    item_id: str
    text: str
    preamble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDone(Event):
    """A complete answer or preamble: its text, number of sampled tokens, and seconds."""

    item_id: str
    text: str
    tokens: int
    seconds: float
    preamble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCited(Event):
    """The citation marks in an answer, such as `【3†L8-L9】`, in order, and what each one refers to."""

    item_id: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta(Event):
    """A piece of a call's arguments as they stream."""

    item_id: str
    tool: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall(Event):
    """A complete call: the registered tool name, the raw arguments as sampled, and a one-line summary."""

    item_id: str
    tool: str
    arguments: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest(Event):
    """The turn waits for the user's approval.

    `preview` is exactly what will happen (a unified diff, a command, code, a URL). `kind` is the kind of effect
    (`edit`, `command`, `python`, `url`, `mcp`). `digest` binds the answer to these exact bytes. `details` are further
    facts, each a label and a text. `reasons` say why no mode or rule may decide. `sources` are hosts whose text the
    model has read and which may be behind the request. `grants` describe what can be allowed permanently or for the
    session. `source` is the text that the user may edit (empty when they may not); `selectable` means that files may
    be left out. `revision` counts the changes that the user has made; each change is shown in a new request.
    """

    item_id: str
    tool: str
    kind: str
    title: str
    preview: str
    preview_type: PreviewType
    digest: str
    paths: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    reasons: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    source: str = ""
    selectable: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalResolved(Event):
    """The decision about a call that has an effect, whether or not the user was asked.

    `by` is `user`, `policy` (the mode), `session` (a rule of the session) or `rule` (a saved rule). `why` explains the
    decision; `rules` are the ids of the rules that made it, or that the answer created. `digest` identifies the bytes
    that were decided about. The decision `edit` means that the user changed the call: another request follows.
    """

    item_id: str
    decision: DecisionKind
    by: str
    message: str = ""
    digest: str = ""
    why: str = ""
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(Event):
    """The approval mode changed from `before` to `mode`."""

    mode: Mode
    before: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """The tool starts. `preview` is what it does, as in `ApprovalRequest`; empty when it only reads.

    `digest` equals that of the preceding `ApprovalResolved`: what runs is what was decided about.
    """

    item_id: str
    tool: str
    preview: str = ""
    preview_type: PreviewType = "text"
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutputDelta(Event):
    """A piece of a running tool's output."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Event):
    """A tool call ended: its status, the output that the model will read, its duration and the files it made.

    `exit_code` is the exit code of a command that ended (128 plus the number for a signal); None for other tools.
    """

    item_id: str
    tool: str
    status: ToolStatus
    output: str
    seconds: float
    artefacts: tuple[Artefact, ...] = ()
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Event):
    """The model's output was malformed; `what` says how it was handled."""

    item_id: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunawayDetected(Event):
    """The model repeats itself: the same `tokens` in a message, or the same `calls`; `what` describes it for the user.

    With `asked` the turn ends and the user decides how to continue. Otherwise the model was made to do something else.
    """

    item_id: str
    kind: RunawayKind
    what: str
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something that the user should know but that does not stop the turn, such as a session that cannot be saved."""

    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """One generation ended: its token counts and durations. `context_used` of `context_limit` tokens are in use."""

    step: int
    prompt_tokens: int
    cached_tokens: int
    prefilled_tokens: int
    generated_tokens: int
    prefill_seconds: float
    decode_seconds: float
    context_used: int
    context_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished(Event):
    """The last event of a turn. `answer` is the final text; `error` says why the turn failed or which limit it met.

    `incomplete` means that the model was cut off, so `answer` is only the part written so far. `unsent` are steering
    messages that came too late for the turn.
    """

    reason: TurnEnd
    answer: str = ""
    error: str = ""
    hint: str = ""
    unsent: tuple[str, ...] = ()
    incomplete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound(Event):
    """Turn `turn` and everything after it was dropped from the conversation. Emitted outside of a turn."""

    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Event):
    """The turns that the last `Rewound` dropped, starting with `turn`, are restored. Emitted outside of a turn."""

    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionStarted(Event):
    """The model starts to summarise a conversation of `tokens` tokens. `automatic`: as the context is nearly full."""

    tokens: int
    automatic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionDelta(Event):
    """A piece of the summary as it streams."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionFinished(Event):
    """The conversation now begins with `summary` and has `tokens` tokens. With an `error` it is unchanged."""

    tokens: int
    summary: str = ""
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTokens(Event):
    """Sampled tokens as text, with special tokens spelled out (only when raw output is enabled)."""

    text: str


class _Registry:
    names: ClassVar[dict[type[Event], str]] = {}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def event_type(event: Event | type[Event]) -> str:
    """The JSON `type` of an event: `tool_call_delta` for `ToolCallDelta`."""
    cls = event if isinstance(event, type) else type(event)
    return _Registry.names.setdefault(cls, _snake(cls.__name__))


def to_dict(event: Event) -> dict[str, Any]:
    """The JSON form of an event: `{"v": 1, "type": ..., fields...}`."""
    return {"v": SCHEMA_VERSION, "type": event_type(event), **dataclasses.asdict(event)}


def from_dict(data: Mapping[str, Any]) -> Event | None:
    """Convert the output of `to_dict` back to an event. Unknown fields are ignored.

    Returns None when the type is unknown, or when fields are missing or have the wrong type.
    """
    kind = data.get("type")
    cls = _CLASSES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return None
    try:
        event: Event = decode(cls, data)
    except TypeError:
        return None
    return event


_CLASSES = {event_type(c): c for c in list(globals().values()) if isinstance(c, type) and issubclass(c, Event)}
