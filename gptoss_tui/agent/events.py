"""Typed events of a turn: the one stream that every front consumes.

Events are upserts by id: `item_id` names a message or a tool call of the turn, deltas extend it, and the closing event
carries its whole content. `to_dict` gives the documented JSON form (`docs/events.md`), one `type` a class.
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
    """A user message was accepted and is in the session file, whose id is `session` (empty when none is saved)."""

    text: str
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered(Event):
    """A message of the user that the running turn took; the model reads it in its next step."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortChanged(Event):
    """The model thinks with `effort` from its next step on; `tokens` that were read have to be read again for it."""

    effort: Effort
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptProgress(Event):
    """Prefill of one step: `done` of `total` prompt tokens are in the cache, `cached` were there before."""

    step: int
    total: int
    done: int
    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta(Event):
    """Chain of thought as it streams."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDone(Event):
    """A whole piece of reasoning: its text, sampled tokens and seconds."""

    item_id: str
    text: str
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDelta(Event):
    """The answer as it streams. `preamble` marks a commentary message to the user before tool calls."""

    item_id: str
    text: str
    preamble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDone(Event):
    """The whole answer (or preamble)."""

    item_id: str
    text: str
    tokens: int
    seconds: float
    preamble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCited(Event):
    """The marks in an answer such as `【3†L8-L9】`, in their order, and what each points at."""

    item_id: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta(Event):
    """The arguments of a call as they stream."""

    item_id: str
    tool: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall(Event):
    """A whole call: tool name as registered, raw arguments as sampled, one line that sums it up."""

    item_id: str
    tool: str
    arguments: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest(Event):
    """The turn waits for an answer. `preview` is exactly what will happen (a unified diff, a command, code, a URL).

    `kind` is what it does (`edit`, `command`, `python`, `url`, `mcp`); `digest` binds the answer to these exact bytes.
    `details` are facts beside the preview, each a label and a text. `reasons` are why no mode and no rule may answer,
    `sources` hosts whose text the model has read, which may be who asks. `grants` are what can be allowed for longer
    than once, in words. `source` is the text that may be edited, empty when none may; `selectable` says that files may
    be left out. `revision` counts the changes that a person made, each shown anew.
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
    """What was decided about a call that would do something, asked about or not.

    `by` is `user`, `policy` (the mode), `session` (a rule of the session) or `rule` (one that is kept). `why` says it
    in words, `rules` are the ids of the rules that said it or that the answer made. `digest` is that of the bytes that
    were decided about. `edit` means that the person changed the call: another request follows.
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
    """How much may happen without asking changed."""

    mode: Mode
    before: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """The tool runs. `preview` is what it does, as an `ApprovalRequest` shows it; empty when it only reads.

    `digest` is that of the `ApprovalResolved` before it: what was decided about is what runs.
    """

    item_id: str
    tool: str
    preview: str = ""
    preview_type: PreviewType = "text"
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutputDelta(Event):
    """Output of a running tool."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Event):
    """What the model will read, whether it went well, how long it took, and the files that it made for the person.

    `exit_code` is that of a command that ended, 128 and its number for a signal; None for other tools.
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
    """The model's output was malformed; `what` says what was made of it."""

    item_id: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunawayDetected(Event):
    """The model repeats itself: the same `tokens` in one message, or the same `calls`; `what` says it for people.

    `asked`: the turn ends with it, and the person says how it goes on. Else the model was made to do something else.
    """

    item_id: str
    kind: RunawayKind
    what: str
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something that a person should know and that stops nothing, such as a session that cannot be saved."""

    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """One generation ended. Token counts and seconds; `context_used` of `context_limit` tokens are taken."""

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
    """The last event of a turn. `answer` is the final text, `error` why it failed or which limit it met.

    `incomplete`: the model was cut before the end of `answer`, which has what there is. `unsent` are messages that were
    meant to steer the turn and came too late for it.
    """

    reason: TurnEnd
    answer: str = ""
    error: str = ""
    hint: str = ""
    unsent: tuple[str, ...] = ()
    incomplete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound(Event):
    """Turn `turn` and everything after it was dropped from the conversation. Outside of a turn."""

    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Event):
    """What the last `Rewound` dropped, from turn `turn` on, is part of the conversation again. Outside of a turn."""

    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionStarted(Event):
    """The model sums the conversation of `tokens` tokens up. `automatic`: because the context is nearly full."""

    tokens: int
    automatic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionDelta(Event):
    """The summary as it streams."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionFinished(Event):
    """The conversation begins with `summary` now and has `tokens` tokens; with an `error` it is what it was."""

    tokens: int
    summary: str = ""
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTokens(Event):
    """Sampled ids as text with special tokens spelled out (only when raw output is asked for)."""

    text: str


class _Registry:
    names: ClassVar[dict[type[Event], str]] = {}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def event_type(event: Event | type[Event]) -> str:
    """The `type` of an event in JSON: `ToolCallDelta` is `tool_call_delta`."""
    cls = event if isinstance(event, type) else type(event)
    return _Registry.names.setdefault(cls, _snake(cls.__name__))


def to_dict(event: Event) -> dict[str, Any]:
    """The JSON form of an event: `{"v": 1, "type": ..., fields...}`."""
    return {"v": SCHEMA_VERSION, "type": event_type(event), **dataclasses.asdict(event)}


def from_dict(data: Mapping[str, Any]) -> Event | None:
    """The event that `to_dict` described. Unknown fields are ignored.

    None for an unknown type, and for fields that are missing or of another type.
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
