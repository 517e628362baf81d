"""Converts a turn to the events of a response, and to the response itself.

One item is open at a time. It is added to the output when it begins, and ends up with what its events have reported.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gptoss_tui.engine.types import Token
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.chat.answer import describe_token
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.reader import Closed, Delta, Opened
from gptoss_tui.server.responses.ids import output_id
from gptoss_tui.server.responses.items import seal
from gptoss_tui.server.responses.own import OwnItem, begin_own
from gptoss_tui.server.responses.record import ResponseRecord
from gptoss_tui.server.responses.request import ResponsesRequest
from gptoss_tui.server.responses.summary import summarize
from gptoss_tui.server.turn import Ended, ToolBegins, ToolRan, Turn, TurnEvent
from gptoss_tui.tools.base import Citation

ResponseEvent = dict[str, Any]
_FAILURES = {400: "invalid_prompt", 429: "rate_limit_exceeded"}
LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")


class Writer:
    """Takes the events of a turn and returns the events of the response, each with the next sequence number."""

    def __init__(
        self,
        record: ResponseRecord,
        asked: ResponsesRequest,
        turn: Turn,
        tokenizer: Tokenizer,
        cite: Callable[[str], Sequence[Citation]] = lambda answer: (),
    ) -> None:
        self.record = record
        self._cite = cite
        self._asked = asked
        self._turn = turn
        self._tokenizer = tokenizer
        self._number = 0
        self._item: dict[str, Any] | None = None
        self._own: OwnItem | None = None
        self._logprobs: list[dict[str, Any]] = []
        record.stats = turn.stats

    # -- the response as a whole ------------------------------------------------------------------------------------

    def begin(self) -> Iterator[ResponseEvent]:
        """Report that the response was created; one in the background may still be queued."""
        yield self._of_response("response.created")
        if self.record.status == "queued":
            yield self._of_response("response.queued")
        else:
            yield self._of_response("response.in_progress")

    def take(self, event: TurnEvent) -> Iterator[ResponseEvent]:
        """Convert an event of the turn. After the turn's last event, call `last`."""
        if self.record.status == "queued":
            self.record.status = "in_progress"
            yield self._of_response("response.in_progress")
        if self._own is not None and isinstance(event, Opened | Ended):
            yield from self._end_own("incomplete")  # the call was not allowed to run
        match event:
            case Opened(kind="reasoning"):
                yield from self._open_reasoning()
            case Opened(kind="call", recipient=recipient):
                yield from self._open_call(self._turn.meant(recipient))
            case Opened(kind=kind):
                yield from self._open_message(kind == "preamble")
            case Delta():
                yield from self._delta(event)
            case Closed():
                yield from self._close(event)
            case ToolBegins(recipient=recipient, arguments=arguments):
                if self._own is None:
                    yield from self._begin_own(recipient)
                yield from self._tell_own(self._own.begins(arguments) if self._own else ())
            case ToolRan(output=output, sources=sources):
                yield from self._tell_own(self._own.ran(output, sources) if self._own else ())
                yield from self._end_own()
            case Ended(reason=reason):
                self.record.incomplete = "max_output_tokens" if reason in ("length", "loop") else None
                self._over("incomplete" if self.record.incomplete else "completed")

    def fail(self, error: ApiError) -> ResponseEvent:
        """Report that the response failed. Call `last` afterwards."""
        code = _FAILURES.get(error.status, "server_error")
        self._over("failed")
        self.record.error = {"code": code, "message": error.message}
        return self._event("error", code=error.code or code, message=error.message, param=error.param)

    def cancel(self) -> None:
        """Mark the response as cancelled, unless it has ended. Call `last` afterwards."""
        if self.record.status in ("queued", "in_progress"):
            self._over("cancelled")

    def last(self) -> ResponseEvent:
        """Return the final event. The API has no event for cancelled responses, so they end as incomplete."""
        status = "incomplete" if self.record.status == "cancelled" else self.record.status
        return self._of_response(f"response.{status}")

    def _over(self, status: Any) -> None:
        for item in self.record.output:
            if item.get("status") == "in_progress":
                item["status"] = "incomplete"
        self.record.status = status
        self.record.completed_at = int(time.time()) if status == "completed" else None

    def _of_response(self, kind: str) -> ResponseEvent:
        return self._event(kind, response=self.record.as_json())

    def _event(self, kind: str, **fields: Any) -> ResponseEvent:
        number, self._number = self._number, self._number + 1
        return {"type": kind, "sequence_number": number, **fields}

    # -- items --------------------------------------------------------------------------------------------------------

    def _of_item(self, kind: str, **fields: Any) -> ResponseEvent:
        """Build an event about the open item."""
        assert self._item is not None
        where = {"item_id": self._item["id"], "output_index": len(self.record.output) - 1}
        return self._event(kind, **where, **fields)

    def _add(self, prefix: str, kind: str, **fields: Any) -> ResponseEvent:
        index = len(self.record.output)
        self._item = {"id": output_id(prefix, self.record.id, index), "type": kind, "status": "in_progress", **fields}
        self.record.output.append(self._item)
        return self._event("response.output_item.added", output_index=index, item=_copy(self._item))

    def _done(self, status: str) -> ResponseEvent:
        assert self._item is not None
        self._item["status"] = status
        item, self._item = self._item, None
        return self._event("response.output_item.done", output_index=len(self.record.output) - 1, item=_copy(item))

    def _open_reasoning(self) -> Iterator[ResponseEvent]:
        yield self._add("rs", "reasoning", summary=[], content=[])
        yield self._part("added", {"type": "reasoning_text", "text": ""})

    def _open_message(self, preamble: bool) -> Iterator[ResponseEvent]:
        phase = "commentary" if preamble else "final_answer"
        self._logprobs = []
        yield self._add("msg", "message", role="assistant", phase=phase, content=[])
        yield self._part("added", _output_text("", []))

    def _open_call(self, recipient: str) -> Iterator[ResponseEvent]:
        tool = self._asked.dialogue.tool(recipient)
        if tool is None:
            if self._turn.is_own(recipient) and recipient == "python":
                yield from self._begin_own(recipient)
            return
        names = {"name": tool.name, **({"namespace": tool.namespace} if tool.namespace else {})}
        call_id = f"call_{secrets.token_hex(12)}"
        if tool.kind == "function":
            yield self._add("fc", "function_call", call_id=call_id, arguments="", **names)
        else:
            yield self._add("ctc", "custom_tool_call", call_id=call_id, input="", **names)

    def _part(self, what: str, part: dict[str, Any]) -> ResponseEvent:
        return self._of_item(f"response.content_part.{what}", content_index=0, part=part)

    def _delta(self, delta: Delta) -> Iterator[ResponseEvent]:
        if self._own is not None:
            yield from self._tell_own(self._own.delta(delta.text))
            return
        match self._item and self._item["type"]:
            case "reasoning":
                yield self._of_item("response.reasoning_text.delta", content_index=0, delta=delta.text)
            case "message":
                described = self._described(delta.tokens)
                self._logprobs += described
                yield self._of_item("response.output_text.delta", content_index=0, delta=delta.text, logprobs=described)
            case "function_call":
                yield self._of_item("response.function_call_arguments.delta", delta=delta.text)
            case "custom_tool_call":
                yield self._of_item("response.custom_tool_call_input.delta", delta=delta.text)
            case _:
                pass  # a call of an unknown tool: the model is told, the client is not

    def _described(self, tokens: Sequence[Token]) -> list[dict[str, Any]]:
        top = self._asked.logprobs
        return [] if top is None else [describe_token(token, self._tokenizer, top) for token in tokens]

    def _close(self, closed: Closed) -> Iterator[ResponseEvent]:
        if self._item is None or self._own is not None:
            return
        text, item = closed.text, self._item
        match item["type"]:
            case "reasoning":
                yield from self._close_reasoning(text)
            case "message":
                item["content"] = [_output_text(text, self._logprobs)]
                yield from self._annotate(item["content"][0])
                yield self._of_item("response.output_text.done", content_index=0, text=text, logprobs=self._logprobs)
                yield self._part("done", item["content"][0])
            case "function_call":
                item["arguments"] = text or "{}"
                if not text:
                    yield self._of_item("response.function_call_arguments.delta", delta="{}")
                yield self._of_item(
                    "response.function_call_arguments.done", arguments=item["arguments"], name=item["name"]
                )
            case "custom_tool_call":
                item["input"] = text
                yield self._of_item("response.custom_tool_call_input.done", input=text)
        yield self._done("completed" if closed.complete else "incomplete")

    def _annotate(self, part: dict[str, Any]) -> Iterator[ResponseEvent]:
        """Add the pages that an answer cites."""
        cited = [citation for citation in self._cite(part["text"]) if citation.number]
        for index, citation in enumerate(cited):
            start, end = citation.span
            where = {"start_index": start, "end_index": end, "title": citation.title, "url": citation.url}
            annotation = {"type": "url_citation", **where}
            part["annotations"].append(annotation)
            yield self._of_item(
                "response.output_text.annotation.added", content_index=0, annotation_index=index, annotation=annotation
            )

    def _close_reasoning(self, text: str) -> Iterator[ResponseEvent]:
        assert self._item is not None
        part = {"type": "reasoning_text", "text": text}
        self._item["content"] = [part]
        yield self._of_item("response.reasoning_text.done", content_index=0, text=text)
        yield self._part("done", part)
        if "reasoning.encrypted_content" in self._asked.include:
            self._item["encrypted_content"] = seal(text)
        summary = summarize(text, self._asked.summary)
        if summary:
            self._item["summary"] = [{"type": "summary_text", "text": summary}]
            where = {"summary_index": 0}
            kind = "response.reasoning_summary"
            yield self._of_item(f"{kind}_part.added", **where, part={"type": "summary_text", "text": ""})
            yield self._of_item(f"{kind}_text.delta", **where, delta=summary)
            yield self._of_item(f"{kind}_text.done", **where, text=summary)
            yield self._of_item(f"{kind}_part.done", **where, part=self._item["summary"][0])

    # -- tools of the server's own ------------------------------------------------------------------------------------

    def _begin_own(self, recipient: str) -> Iterator[ResponseEvent]:
        self._own = begin_own(recipient, self._asked.include)
        if self._own.opens_early:
            yield self._add(self._own.prefix, self._own.kind, **self._own.fields)

    def _tell_own(self, told: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[ResponseEvent]:
        """Build events about an own tool's item, adding the item itself first if necessary."""
        assert self._own is not None
        if self._item is None:
            yield self._add(self._own.prefix, self._own.kind, **self._own.fields)
        assert self._item is not None
        self._item |= self._own.fields
        for kind, fields in told:
            yield self._of_item(kind, **fields)

    def _end_own(self, status: str = "completed") -> Iterator[ResponseEvent]:
        self._own = None
        if self._item is not None:
            yield self._done(status)


def _output_text(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    """Copy an item in its current state, because it keeps changing."""
    return {**item, **{name: list(value) for name, value in item.items() if isinstance(value, list)}}
