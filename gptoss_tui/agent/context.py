"""Where the tokens of a conversation went, and what of them the engine holds or would have to read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gptoss_tui.agent.commands import ContextReport
from gptoss_tui.agent.events import StepFinished
from gptoss_tui.agent.history import History
from gptoss_tui.engine.prefix import common_prefix, prefix_digest
from gptoss_tui.engine.types import Engine, EngineInfo
from gptoss_tui.errors import EngineError
from gptoss_tui.harmony.messages import Message, Preamble
from gptoss_tui.harmony.render import render_preamble
from gptoss_tui.harmony.tokenizer import Tokenizer

_PIECE = 65_536


class HeldContext:
    """What is known of the model that `engine` has loaded, and of the tokens of the conversation that it holds.

    `limit` is the context that a person asked for, in tokens; None means the engine's own.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, limit: int | None) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._limit = limit
        self._info: EngineInfo | None = None
        self._cached_ids: list[int] = []

    async def loaded(self) -> EngineInfo:
        """The model that is loaded. Raises EngineError when none is."""
        info = await self._engine.info()
        if info is None:
            raise EngineError("No model is loaded; the conversation is kept", hint="load or restart the engine")
        self._info = info
        del self._cached_ids[info.cached_tokens :]
        return info

    async def look(self) -> None:
        """Ask the engine again what it keeps."""
        self._info = await self._engine.info() or self._info

    def limit(self, info: EngineInfo) -> int:
        """Tokens that a conversation may have."""
        return info.context if self._limit is None else min(info.context, self._limit)

    def follow(self, step: StepFinished, prompt_ids: Sequence[int]) -> None:
        """The engine has read these tokens, but for the one that was sampled last, which has not been run."""
        self._cached_ids = list(prompt_ids[: step.prompt_tokens + max(0, step.generated_tokens - 1)])

    def cost(self, history: History, preamble: Preamble) -> int:
        """Tokens that the engine would have to read again under another preamble."""
        if preamble == history.conversation.preamble:
            return 0
        ids = render_preamble(self._tokenizer, preamble)
        kept = self._info.kept_prefixes if self._info else ()
        return tokens_to_read_again(history, ids, self._cached_ids, kept=prefix_digest(ids) in kept)

    def report(self, history: History) -> ContextReport:
        """Where the tokens of the conversation went."""
        limit = self.limit(self._info) if self._info else self._limit
        return context_report(self._tokenizer, history, self._cached_ids, limit)


def context_report(
    tokenizer: Tokenizer, history: History, cached_ids: Sequence[int], limit: int | None
) -> ContextReport:
    """The report of a conversation of which the engine holds `cached_ids`."""
    conversation = history.conversation
    preamble = render_preamble(tokenizer, conversation.preamble)
    system = len(render_preamble(tokenizer, replace(conversation.preamble, developer=None)))
    counts: Counter[str] = Counter()
    for entry in conversation.entries:
        counts[_part(entry.message)] += len(entry.tokens)
    # What streams now is not read as a message yet; most of it is thought.
    counts["reasoning"] += history.open_tokens
    used = len(preamble) + counts.total()
    return ContextReport(
        system=system,
        developer=len(preamble) - system,
        user=counts["user"],
        reasoning=counts["reasoning"],
        calls=counts["calls"],
        tool_results=counts["tool_results"],
        answers=counts["answers"],
        used=used,
        cached=min(used, common_prefix(history.prompt_ids(), cached_ids)),
        limit=limit,
    )


def tokens_to_read_again(
    history: History, preamble_ids: Sequence[int], cached_ids: Sequence[int], *, kept: bool
) -> int:
    """How many of the conversation's tokens that the engine holds it may lose under another preamble.

    `kept` says whether it keeps that preamble beside the conversation. The few words before the preambles differ do
    not count: an engine with sliding windows cannot go back to them.
    """
    held = common_prefix(history.prompt_ids(), cached_ids)
    return max(0, held - len(preamble_ids)) if kept else held


def _part(message: Message) -> str:
    if message.role == "user":
        return "user"
    if message.role == "tool":
        return "tool_results"
    if message.recipient is not None:
        return "calls"
    return "reasoning" if message.channel == "analysis" else "answers"


def is_longer(text: str, tokenizer: Tokenizer, limit: int) -> bool:
    """Whether `text` alone has more than `limit` tokens. No more of it is read than that takes."""
    count = 0
    for start in range(0, len(text), _PIECE) if len(text.encode()) > limit else ():  # a token has one byte or more
        count += len(tokenizer.encode(text[start : start + _PIECE]))
        if count > limit:
            return True
    return False
