"""Builds the JSON object of a response from its current state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gptoss_tui.server.responses.request import ResponsesRequest
from gptoss_tui.server.stats import Stats

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


@dataclass(slots=True)
class ResponseRecord:
    """The state of a response. `echo` are the fields repeated from the request."""

    id: str
    model: str
    echo: Mapping[str, Any]
    temperature: float
    top_p: float
    background: bool = False
    store: bool = True
    status: Status = "in_progress"
    created_at: int = field(default_factory=lambda: int(time.time()))
    completed_at: int | None = None
    output: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    incomplete: str | None = None
    stats: Stats | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the response object."""
        over = self.status not in ("queued", "in_progress")
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": self.completed_at,
            "status": self.status,
            "background": self.background,
            "error": self.error,
            "incomplete_details": {"reason": self.incomplete} if self.incomplete else None,
            "model": self.model,
            "output": list(self.output),
            "store": self.store,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "usage": usage_of(self.stats) if over and self.stats is not None else None,
            **self.echo,
        }


def new_record(response_id: str, model: str, asked: ResponsesRequest, *, stored: bool) -> ResponseRecord:
    """Create the record for a new response. `stored`: the server keeps responses."""
    sampling = asked.options.sampling
    return ResponseRecord(
        response_id,
        model,
        asked.echo,
        sampling.temperature,
        sampling.top_p,
        background=asked.background,
        store=asked.store and stored,
        status="queued" if asked.background else "in_progress",
    )


def usage_of(stats: Stats) -> dict[str, Any]:
    """The usage of a response."""
    return {
        "input_tokens": stats.prompt_tokens,
        "input_tokens_details": {"cached_tokens": stats.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": stats.generated_tokens,
        "output_tokens_details": {"reasoning_tokens": stats.reasoning_tokens},
        "total_tokens": stats.prompt_tokens + stats.generated_tokens,
    }
