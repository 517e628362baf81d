"""The limits of a turn and what is left of them: sampled tokens, context, tool calls, repeated calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gptoss_tui.harmony.messages import Effort
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.settings import Runaways


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one turn.

    `tokens` limits the tokens sampled in the turn (None: only the context limits them). Of these, `answer_tokens` are
    reserved for the final answer, but at most an eighth of all. `reasoning_tokens` limits the thinking before a call or
    an answer, by effort (0 or no entry: no limit).

    A runaway is `repeats` identical calls with identical results, or `repeated_tokens` sampled tokens in a row that
    only repeat the tokens before them. With `stop` the model is told not to make that call again (if it does, the turn
    ends), or is made to answer. With `ask` the turn ends and the user decides how to continue.
    """

    tool_calls: int = 50
    repeats: int = 3
    tokens: int | None = None
    answer_tokens: int = 1024
    reasoning_tokens: Mapping[Effort, int] = field(default_factory=dict)
    runaways: Runaways = "stop"
    repeated_tokens: int = 400


class Budget:
    """What is left of one turn's limits. Tokens are counted, never estimated."""

    def __init__(self, limits: Limits, context_limit: int) -> None:
        self._context_limit = context_limit
        self._tokens_left = context_limit if limits.tokens is None else min(limits.tokens, context_limit)
        self._bounded = limits.tokens is not None
        self._reserve = min(limits.answer_tokens, self._tokens_left // 8)
        self._calls_left = limits.tool_calls

    def spend(self, tokens: int) -> None:
        """Count `tokens` sampled tokens."""
        if self._bounded:
            self._tokens_left -= tokens

    def answer_room(self, prompt_tokens: int) -> int:
        """How many tokens may be sampled after a prompt of that length. Zero or negative when nothing is left."""
        return min(self._tokens_left, self._context_limit - prompt_tokens)

    def context_left(self, prompt_tokens: int) -> int:
        """How many tokens of the context are left after a prompt of that length."""
        return self._context_limit - prompt_tokens

    def room(self, prompt_tokens: int) -> int:
        """Like `answer_room`, but without the tokens that are reserved for the answer."""
        return self.answer_room(prompt_tokens) - self._reserve

    def take_call(self) -> bool:
        """Count a tool call. Returns False when the turn has already used all of its calls."""
        self._calls_left -= 1
        return self._calls_left >= 0


class RepeatGuard:
    """Detects a model that repeats a call that always gives the same result."""

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._stopped: set[tuple[str, str]] = set()

    def refuses(self, tool: str, arguments: str) -> bool:
        """Whether the model was told to stop making this call."""
        return (tool, arguments) in self._stopped

    def record(self, tool: str, arguments: str, result: str) -> bool:
        """Count a call and its result. Returns True when the model should be told to stop making it."""
        self._seen[tool, arguments, result] += 1
        if self._seen[tool, arguments, result] < self._repeats:
            return False
        self._stopped.add((tool, arguments))
        return True

    def reset(self) -> None:
        """Forget all calls: the workspace has changed, so it is reasonable to repeat a call."""
        self._seen.clear()
        self._stopped.clear()


def fit_output(text: str, tokenizer: Tokenizer, max_tokens: int) -> str:
    """Shorten `text` to about `max_tokens` tokens: its beginning and end, with a line that says what is left out."""
    if len(text.encode(errors="replace")) <= max_tokens:  # a token is at least one byte
        return text
    ids = tokenizer.encode(text)
    if len(ids) <= max_tokens:
        return text
    half = max(max_tokens // 2, 1)
    cut = f"\n[... {len(ids) - 2 * half} tokens left out: the output is too long for the context ...]\n"
    return tokenizer.decode(ids[:half]).rstrip("\ufffd") + cut + tokenizer.decode(ids[-half:]).lstrip("\ufffd")
