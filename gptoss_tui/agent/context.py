"""What the tokens of a conversation are used for, and which of them the engine has cached or must prefill again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gptoss_tui.agent.commands import ContextReport
from gptoss_tui.agent.events import StepFinished
from gptoss_tui.agent.history import History
from gptoss_tui.engine.cache.prefix import common_prefix, prefix_digest
from gptoss_tui.engine.types import Engine, EngineInfo
from gptoss_tui.errors import EngineError
from gptoss_tui.harmony.messages import Message, Preamble
from gptoss_tui.harmony.render import render_preamble
from gptoss_tui.harmony.tokenizer import Tokenizer

_PIECE = 65_536


class HeldContext:
    """Tracks the model that `engine` has loaded and the tokens of the conversation that it has cached.

    `limit` is the context that the user asked for, in tokens; None means the engine's own.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, limit: int | None) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._limit = limit
        self._info: EngineInfo | None = None
        self._cached_ids: list[int] = []

    async def loaded(self) -> EngineInfo:
        """The loaded model. Raises EngineError when none is loaded."""
        info = await self._engine.info()
        if info is None:
            raise EngineError("No model is loaded; the conversation is kept", hint="load or restart the engine")
        self._info = info
        del self._cached_ids[info.cached_tokens :]
        return info

    async def look(self) -> None:
        """Refresh the engine's information about what it has cached."""
        self._info = await self._engine.info() or self._info

    def limit(self, info: EngineInfo) -> int:
        """The maximum number of tokens in a conversation."""
        return info.context if self._limit is None else min(info.context, self._limit)

    def follow(self, step: StepFinished, prompt_ids: Sequence[int]) -> None:
        """Note which tokens the engine has cached after a step: all but the last sampled one, which it did not run."""
        self._cached_ids = list(prompt_ids[: step.prompt_tokens + max(0, step.generated_tokens - 1)])

    def cost(self, history: History, preamble: Preamble) -> int:
        """The number of tokens that the engine must prefill again for another preamble."""
        if preamble == history.conversation.preamble:
            return 0
        ids = render_preamble(self._tokenizer, preamble)
        kept = self._info.kept_prefixes if self._info else ()
        return tokens_to_read_again(history, ids, self._cached_ids, kept=prefix_digest(ids) in kept)

    def report(self, history: History) -> ContextReport:
        """What the tokens of the conversation are used for."""
        limit = self.limit(self._info) if self._info else self._limit
        return context_report(self._tokenizer, history, self._cached_ids, limit)


def context_report(
    tokenizer: Tokenizer, history: History, cached_ids: Sequence[int], limit: int | None
) -> ContextReport:
    """The report of a conversation when the engine has cached `cached_ids`."""
    conversation = history.conversation
    preamble = render_preamble(tokenizer, conversation.preamble)
    system = len(render_preamble(tokenizer, replace(conversation.preamble, developer=None)))
    counts: Counter[str] = Counter()
    for entry in conversation.entries:
        counts[_part(entry.message)] += len(entry.tokens)
    # The open generation is not parsed into messages yet; most of it is reasoning.
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
    """How many cached tokens of the conversation the engine may lose when the preamble changes.

    `kept` says whether the engine also keeps the new preamble in its cache. The few tokens that both preambles begin
    with are not counted as reusable: an engine with sliding windows cannot go back to them.
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
    """Whether `text` alone has more than `limit` tokens. Tokenizes only as much of it as is needed to decide."""
    count = 0
    for start in range(0, len(text), _PIECE) if len(text.encode()) > limit else ():  # a token is at least one byte
        count += len(tokenizer.encode(text[start : start + _PIECE]))
        if count > limit:
            return True
    return False
