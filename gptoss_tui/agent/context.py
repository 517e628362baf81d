"""Where the tokens of a conversation went, and what of them the engine would have to read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gptoss_tui.agent.commands import ContextReport
from gptoss_tui.agent.history import History
from gptoss_tui.engine.prefix import common_prefix
from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.render import render_preamble
from gptoss_tui.harmony.tokenizer import Tokenizer

_PIECE = 65_536


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
