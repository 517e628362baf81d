"""Counts and durations in Prometheus's text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from gptoss_tui.server.stats import Stats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Histogram:
    """How many values fell below each bound, and their sum."""

    def __init__(self, bounds: Sequence[float] = _SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """The lines of the text format."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """Counters since the start of the server."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.tokens: Counter[str] = Counter()
        self.disconnects = 0
        self.seconds = Histogram()
        self.first_token = Histogram()
        self.waited = Histogram()

    def count(self, stats: Stats) -> None:
        """Count a finished turn."""
        self.tokens["prompt"] += stats.prompt_tokens
        self.tokens["cached"] += stats.cached_tokens
        self.tokens["generated"] += stats.generated_tokens
        self.tokens["reasoning"] += stats.reasoning_tokens
        self.waited.observe(stats.waited_seconds)
        if stats.first_token_seconds is not None:
            self.first_token.observe(stats.first_token_seconds)

    def lines(self, gauges: Iterable[tuple[str, str, float]]) -> Iterator[str]:
        """All lines; `gauges` are triples (name, help, current value)."""
        yield from _head("requests_total", "counter", "Requests answered, by route and status.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'gptoss_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("tokens_total", "counter", "Tokens read, found in the cache, sampled, and thought.")
        for kind in ("prompt", "cached", "generated", "reasoning"):
            yield f'gptoss_tokens_total{{kind="{kind}"}} {self.tokens[kind]}'
        yield from _head("disconnects_total", "counter", "Clients that went away before their answer was complete.")
        yield f"gptoss_disconnects_total {self.disconnects}"
        for name, about, value in gauges:
            yield from _head(name, "gauge", about)
            yield f"gptoss_{name} {value:g}"
        for name, about, histogram in (
            ("request_seconds", "From the request to the end of its answer.", self.seconds),
            ("first_token_seconds", "From the request to its first token, waiting included.", self.first_token),
            ("queue_seconds", "Waiting for the engine.", self.waited),
        ):
            yield from _head(name, "histogram", about)
            yield from histogram.lines(f"gptoss_{name}")


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP gptoss_{name} {about}"
    yield f"# TYPE gptoss_{name} {kind}"
