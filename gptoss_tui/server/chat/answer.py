"""Formats a turn as a chat completion, complete or in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gptoss_tui.engine.types import Token
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.dialogue import Dialogue, OfferedTool
from gptoss_tui.server.logprobs import json_logprob
from gptoss_tui.server.reader import Closed, Delta, Opened
from gptoss_tui.server.stats import Stats
from gptoss_tui.server.turn import EndReason, Turn, TurnEvent

FINISH_REASONS: dict[EndReason, str] = {"stop": "stop", "call": "tool_calls", "length": "length", "loop": "length"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that all chunks of a completion share."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def wrap(self, kind: str, choices: Sequence[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
        """Wrap choices in a completion object."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
            "usage": usage,
        }


@dataclass(slots=True)
class Choice:
    """One answer so far. `take` returns the deltas for each event, for streaming.

    `logprobs` is the number of alternatives to report for each token, None for no logprobs.
    """

    index: int
    turn: Turn
    dialogue: Dialogue
    tokenizer: Tokenizer
    logprobs: int | None
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = "stop"
    _tool: OfferedTool | None = None
    _gap: bool = False

    def take(self, event: TurnEvent) -> Iterator[dict[str, Any]]:
        """Yield the `delta`s for an event, including `logprobs` if requested."""
        match event:
            case Opened(kind="call", recipient=recipient):
                self._tool = self.dialogue.tool(self.turn.meant(recipient))
                if self._tool is not None:
                    yield self._begin_call(self._tool)
            case Opened(kind="answer" | "preamble"):
                self._gap = bool(self.content)
            case Delta(kind="reasoning", text=text):
                self.reasoning.append(text)
                yield _delta(reasoning_content=text, reasoning=text)
            case Delta(kind="answer" | "preamble", text=text, tokens=tokens):
                yield self._text(text, tokens)
            case Delta(kind="call", text=text) if self._tool is not None:
                yield self._arguments(text)
            case Closed(kind="call", text="") if self._tool is not None and self._tool.kind == "function":
                yield self._arguments("{}")
            case _:
                pass

    def _text(self, text: str, tokens: Sequence[Token]) -> dict[str, Any]:
        if self._gap:
            text, self._gap = "\n\n" + text, False
        self.content.append(text)
        delta = _delta(content=text)
        if self.logprobs is not None:
            described = [describe_token(token, self.tokenizer, self.logprobs) for token in tokens]
            self.tokens += described
            delta["logprobs"] = {"content": described, "refusal": None}
        return delta

    def _begin_call(self, tool: OfferedTool) -> dict[str, Any]:
        kind, argument = ("function", "arguments") if tool.kind == "function" else ("custom", "input")
        call = {"id": f"call_{secrets.token_hex(12)}", "type": kind, kind: {"name": tool.name, argument: ""}}
        self.calls.append(call)
        return _delta(tool_calls=[{"index": len(self.calls) - 1, **call, kind: dict(call[kind])}])  # type: ignore[arg-type]

    def _arguments(self, text: str) -> dict[str, Any]:
        call = self.calls[-1]
        kind, argument = ("function", "arguments") if call["type"] == "function" else ("custom", "input")
        call[kind][argument] += text
        return _delta(tool_calls=[{"index": len(self.calls) - 1, kind: {argument: text}}])

    def end(self, reason: EndReason) -> None:
        """Record why the turn ended."""
        self.finish_reason = FINISH_REASONS[reason]

    def whole(self) -> dict[str, Any]:
        """The choice in a completion that is not streamed."""
        thought = "".join(self.reasoning) or None
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.content) if self.content or not self.calls else None,
            "refusal": None,
            "annotations": [],
            "reasoning_content": thought,
            "reasoning": thought,
        }
        if self.calls:
            message["tool_calls"] = self.calls
        return {
            "index": self.index,
            "message": message,
            "logprobs": {"content": self.tokens, "refusal": None} if self.logprobs is not None else None,
            "finish_reason": self.finish_reason,
        }

    def chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        """The choice of a chunk."""
        return {"index": self.index, "delta": delta["delta"], "logprobs": delta.get("logprobs"), "finish_reason": None}

    def last_chunk(self) -> dict[str, Any]:
        """The choice of the last chunk."""
        return {"index": self.index, "delta": {}, "logprobs": None, "finish_reason": self.finish_reason}


def _delta(**fields: Any) -> dict[str, Any]:
    return {"delta": fields}


def describe_token(token: Token, tokenizer: Tokenizer, top: int) -> dict[str, Any]:
    """A token with its logprob and its `top` alternatives, in the form of the APIs."""
    return {
        **_one(token.id, token.logprob, tokenizer),
        "top_logprobs": [_one(token_id, logprob, tokenizer) for token_id, logprob in token.top[:top]],
    }


def _one(token_id: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    text = tokenizer.decode([token_id])
    data = tokenizer.token_bytes(token_id) or text.encode()
    return {"token": text, "logprob": json_logprob(logprob), "bytes": list(data)}


def usage_of(every: Sequence[Stats]) -> dict[str, Any]:
    """The usage of a completion; its choices share the prompt."""
    prompt = every[0].prompt_tokens
    generated = sum(stats.generated_tokens for stats in every)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": every[0].cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": sum(stats.reasoning_tokens for stats in every)},
    }
