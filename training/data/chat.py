"""A conversation as the product shows it to the model: messages in order, and which tokens the model must learn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from gptoss_tui.harmony.messages import Effort, Message
from gptoss_tui.harmony.render import assistant_start, render_message
from gptoss_tui.harmony.tokenizer import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MESSAGE,
    RETURN,
    START,
    Tokenizer,
    load_tokenizer,
)
from gptoss_tui.tools.formats import format_applied, format_denied
from training.data.draw import Draw

Segment = tuple[list[int], bool]
"""Token ids, and whether the model must learn to write them."""

StepKind = Literal["user", "analysis", "call", "reply", "final"]


@dataclass(frozen=True, slots=True)
class Scene:
    """The parts of the preamble that answers depend on.

    `date` is YYYY-MM-DD. Without `files` there is no apply_patch: files can only be read.
    """

    effort: Effort = "medium"
    date: str | None = "2026-11-22"
    files: bool = True
    python: bool = False
    browser: bool = False
    developer_message: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One message. `to` is the recipient of a call or the author of a reply.

    A message that is not `learned` is a mistake from which the model must recover, but which it must not learn to make.
    """

    kind: StepKind
    text: str
    to: str = ""
    learned: bool = True


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the evaluation expects after a turn: files on disk, a part of the answer, or the whole answer."""

    files_before: dict[str, str] = field(default_factory=dict)
    files_after: dict[str, str] | None = None
    tool: str | None = None
    answer_has: tuple[str, ...] = ()
    answer: str | None = None


@dataclass
class Chat:
    """A conversation under construction. `key` names its combination of values, `skill` what it teaches."""

    scene: Scene
    draw: Draw
    skill: str = ""
    key: str = ""
    steps: list[Step] = field(default_factory=list)
    expectation: Expectation = field(default_factory=Expectation)

    def user(self, text: str) -> None:
        """What the person typed."""
        self.steps.append(Step("user", text))

    def think(self, low: str, medium: str, high: str) -> None:
        """The chain of thought, by effort: `medium` takes the place of `low`, and `high` is added to `medium`."""
        effort = self.scene.effort
        text = low if effort == "low" else medium if effort == "medium" else f"{medium} {high}"
        self.steps.append(Step("analysis", text))

    def patch(self, lines: Sequence[str], *, learned: bool = True) -> None:
        """Call apply_patch with these lines between the sentinels."""
        text = "\n".join(("*** Begin Patch", *lines, "*** End Patch"))
        self.steps.append(Step("call", text, "functions.apply_patch", learned))

    def call(self, function: str, **arguments: object) -> None:
        """Call a function of the workspace or the browser with compact JSON."""
        text = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
        self.steps.append(Step("call", text, function))

    def python(self, code: str) -> None:
        """Run code."""
        self.steps.append(Step("call", code, "python"))

    def reply(self, text: str) -> None:
        """What the tool of the last call answers."""
        self.steps.append(Step("reply", text, self.steps[-1].to))

    def final(self, text: str) -> None:
        """The answer that the person reads."""
        self.steps.append(Step("final", text))

    def apply(
        self, changes: Sequence[tuple[Literal["A", "M", "D", "R"], str]], patch: Sequence[str], done: str
    ) -> None:
        """A patch, what comes back, and the closing sentence; now and then the person says no."""
        self.patch(patch)
        if self.draw.split == "train" and self.draw.chance(0.04):
            self.deny()
            return
        self.reply(format_applied(changes))
        self.think("Done.", "The patch was applied.", "Now I tell the user in one sentence.")
        self.final(done)

    def deny(self) -> None:
        """The person does not allow the call: stop and say so."""
        messages = ("", "", "no", "not now", "wrong file", "stop", "I changed my mind", "use another name", "leave it")
        self.reply(format_denied(self.draw.choice(messages)))
        self.think(
            "Denied.", "The user did not allow it, so I stop.", "I do not try it another way. I ask what they want."
        )
        self.final("Okay, I changed nothing. Tell me what you want instead.")

    @property
    def prompt_length(self) -> int:
        """Index of the step after the last user message."""
        return max(i for i, s in enumerate(self.steps) if s.kind == "user") + 1


@lru_cache(maxsize=4096)
def fixed(text: str) -> tuple[int, ...]:
    """The tokens of a text that occurs often; cached."""
    return tuple(load_tokenizer().encode(text))


def call_header(recipient: str) -> list[int]:
    """From `<|channel|>` to `<|message|>` of a call, as the model samples it."""
    if recipient == "functions.apply_patch":
        return [CHANNEL, *fixed(f"commentary to={recipient}"), MESSAGE]
    if recipient.startswith("functions."):
        return [CHANNEL, *fixed(f"commentary to={recipient} "), CONSTRAIN, *fixed("json"), MESSAGE]
    return [CHANNEL, *fixed(f"analysis to={recipient} code"), MESSAGE]


def call_channel(recipient: str) -> str:
    """The channel of a call, which its reply keeps."""
    return "commentary" if recipient.startswith("functions.") else "analysis"


def render_chat(chat: Chat) -> list[Segment]:
    """Tokens after the preamble. Only the turn after the last user message is learned.

    Finished turns are shown as the product shows them: without analysis and what went over its channel, and with
    `<|end|>` instead of `<|return|>`.
    """
    tokenizer = load_tokenizer()
    last = chat.prompt_length
    segments: list[Segment] = []
    for i, step in enumerate(chat.steps):
        if i < last:
            if not _is_dropped(step):
                segments.append((_history(tokenizer, step), False))
        elif step.kind == "reply":
            segments.append((_reply(tokenizer, step), False))
        else:
            if chat.steps[i - 1].kind in ("user", "reply"):
                segments.append((assistant_start(tokenizer), False))
            segments.append((_sampled(tokenizer, step), step.learned))
    return segments


def _is_dropped(step: Step) -> bool:
    return step.kind == "analysis" or (step.kind in ("call", "reply") and call_channel(step.to) == "analysis")


def _reply(tokenizer: Tokenizer, step: Step) -> list[int]:
    message = Message("tool", step.text, channel=call_channel(step.to), recipient="assistant", name=step.to)
    return render_message(tokenizer, message)


def _history(tokenizer: Tokenizer, step: Step) -> list[int]:
    if step.kind == "user":
        return render_message(tokenizer, Message("user", step.text))
    if step.kind == "reply":
        return _reply(tokenizer, step)
    tokens = [*assistant_start(tokenizer), *_sampled(tokenizer, step)]
    if tokens[-1] == RETURN:
        tokens[-1] = END
    return tokens


def _sampled(tokenizer: Tokenizer, step: Step) -> list[int]:
    """What the model itself writes for one message, the next header's `<|start|>assistant` after analysis included."""
    content = tokenizer.encode(step.text)
    if step.kind == "analysis":
        return [CHANNEL, *fixed("analysis"), MESSAGE, *content, END, START, *fixed("assistant")]
    if step.kind == "call":
        return [*call_header(step.to), *content, CALL]
    return [CHANNEL, *fixed("final"), MESSAGE, *content, RETURN]
