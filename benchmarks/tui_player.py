"""An engine that streams Markdown at a steady rate, and the app around it, for `benchmarks/tui.py`.

As a module, it is a backend for the engine's worker (`--backend python:benchmarks.tui_player`): it answers every prompt
with PLAYER_TOKENS tokens of prose, code, lists and tables at PLAYER_RATE tokens per second, ended by END. As a program,
it is `gptoss-tui` itself, except that a message `fill rows N` (or `tokens`) plays finished turns into the conversation
as fast as the app accepts them, without an engine.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from gptoss_tui.agent import events as ev
from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    Finished,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    Usage,
)

RATE, TOKENS = "PLAYER_RATE", "PLAYER_TOKENS"
END = "ENDMARK"
TOKENS_A_SECTION = 420
"""About how many tokens a `section` has; only used to write enough of them."""

_WORDS = tuple(
    "the model streams a token stream that is rendered by the terminal widget as markdown with **bold** and `code` "  # noqa: SIM905
    "spans and [links](https://example.com) in long paragraphs of ordinary prose".split()
)
_DEVICE = EngineInfo("player", "player", "none", "none", 1, 1, 201_088, 131_072, 0)


def section(number: int) -> str:
    """A piece of an answer: heading, three paragraphs, code, a table, a list."""
    choose = random.Random(number)
    prose = "\n\n".join(" ".join(choose.choice(_WORDS) for _ in range(60)) + "." for _ in range(3))
    code = "\n".join(f"    x{n} = func({n}, 'abc')  # comment" for n in range(8))
    cells = "\n".join(f"| cell {n} | value |" for n in range(4))
    return (
        f"## Section {number}\n\n{prose}\n\n```python\ndef f():\n{code}\n```\n\n"
        f"| a | b |\n|---|---|\n{cells}\n\n- item one\n- item two\n"
    )


class Player:
    """A backend of the worker that plays sections."""

    def __init__(self, report: ReportProgress) -> None:
        from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, load_tokenizer

        tokenizer, special = load_tokenizer(), {text: token_id for token_id, text in SPECIAL_TOKENS.items()}
        count = int(os.environ[TOKENS])
        text = "\n".join(section(n) for n in range(count // TOKENS_A_SECTION + 2))
        body, tail = tokenizer.encode(text), tokenizer.encode(f"\n\n{END}")
        head = [special["<|channel|>"], *tokenizer.encode("final"), special["<|message|>"]]
        self._ids = [*head, *body[: count - len(tail)], *tail, special["<|return|>"]]

    def info(self) -> EngineInfo:
        return _DEVICE

    def generate(
        self, token_ids: Sequence[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        prompt, rate = len(token_ids), float(os.environ[RATE])
        yield PrefillProgress(prompt, prompt, 0)
        began = time.perf_counter()
        for made, token in enumerate(self._ids):
            wait = began + made / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            if cancelled():
                break
            yield Token(token, -0.5)
        yield Finished("stop", Usage(prompt, 0, prompt, len(self._ids), 0.1, time.perf_counter() - began))

    def score(
        self, token_ids: Sequence[int], top: int, cancelled: Callable[[], bool] = lambda: False, start: int = 0
    ) -> Iterator[ScoredPosition]:
        return iter(())

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def load_backend(spec: EngineSpec, report: ReportProgress) -> Player:
    """The entry point that the worker calls."""
    return Player(report)


def turn(number: int, sections: int) -> Iterator[ev.Event]:
    """A finished turn: a thought, a tool call, and an answer in pieces of 20 tokens, as in frames at 30 per second."""
    yield ev.TurnStarted(text=f"Question {number}")
    thought = " ".join(_WORDS) + "\n" + section(number).replace("`", "")
    yield from (ev.ReasoningDelta(item_id="r", text=piece) for piece in _pieces(thought))
    yield ev.ReasoningDone(item_id="r", text=thought, tokens=len(thought) // 4, seconds=1.0)
    arguments = f'{{"path": "file{number}.py"}}'
    yield ev.ToolCall(item_id="c", tool="read_file", arguments=arguments, summary=f"read_file file{number}.py")
    yield ev.ToolStarted(item_id="c", tool="read_file")
    output = "\n".join(f"line {n} of file {number}" for n in range(40))
    yield ev.ToolFinished(item_id="c", tool="read_file", status="ok", output=output, seconds=0.1)
    answer = "\n".join(section(number * sections + n) for n in range(sections))
    yield from (ev.AnswerDelta(item_id="a", text=piece) for piece in _pieces(answer))
    yield ev.AnswerDone(item_id="a", text=answer, tokens=len(answer) // 4, seconds=5.0)
    yield ev.TurnFinished(reason="done", answer=answer)


def _pieces(text: str, size: int = 80) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


class FillingAgent:
    """The real agent, except that `fill rows N` and `fill tokens N` play turns until the conversation has that many."""

    def __init__(self, agent: Any, rows: Callable[[], int]) -> None:
        self.__dict__.update(_agent=agent, _rows=rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._agent, name, value)

    async def submit(self, text: str) -> AsyncIterator[ev.Event]:
        if not text.startswith("fill "):
            async for event in self._agent.submit(text):
                yield event
            return
        _, unit, wanted = text.split()
        characters, number = 0, 0
        while (self._rows() if unit == "rows" else characters // 4) < int(wanted):
            for event in turn(number, 8):
                if not isinstance(event, ev.TurnFinished):
                    characters += len(event.text) if isinstance(event, ev.AnswerDelta | ev.ReasoningDelta) else 0
                    yield event
                    await asyncio.sleep(0)
            number += 1
            await asyncio.sleep(0.04)  # a frame
        yield ev.AnswerDone(item_id="end", text=END, tokens=1, seconds=0.0)
        yield ev.TurnFinished(reason="done")


def main() -> int:
    """`gptoss-tui` with an agent that can fill the conversation."""
    import gptoss_tui.tui.app as app_module
    from gptoss_tui.cli import main as run
    from gptoss_tui.engine.types import Engine

    class Backend(app_module.LocalBackend):
        def build_agent(self, engine: Engine) -> Any:
            return FillingAgent(super().build_agent(engine), _rows_of_the_app)

    app_module.LocalBackend = Backend  # type: ignore[misc]
    return run(sys.argv[1:])


def _rows_of_the_app() -> int:
    from textual._context import active_app

    from gptoss_tui.tui.widgets.transcript import Transcript

    return active_app.get().screen_stack[0].query_one("#conversation", Transcript).virtual_size.height


if __name__ == "__main__":
    sys.exit(main())
