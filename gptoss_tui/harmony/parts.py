"""Converts answers that a server has already parsed back to the tokens that the model must have written.

Some servers hide the control tokens and report thoughts, answers and calls as JSON fields. All text is encoded as
ordinary text here, so it cannot contain a control token.
"""

from __future__ import annotations

from typing import Literal

from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.render import assistant_start, render_message
from gptoss_tui.harmony.tokenizer import CHANNEL, END, MESSAGE, RETURN, START, STOP_TOKENS, Tokenizer

_Channel = Literal["analysis", "final"]


class PartsReader:
    """Reads one generation. With `answering` the prompt ends with the header of the answer, so thoughts are dropped."""

    def __init__(self, tokenizer: Tokenizer, *, answering: bool) -> None:
        self._tokenizer = tokenizer
        self._answering = answering
        self._open: _Channel | None = "final" if answering else None
        self._begun = False
        self._last: int | None = None

    def thought(self, text: str) -> list[int]:
        """Tokens for more of a thought."""
        return [] if self._answering else self._text("analysis", text)

    def said(self, text: str) -> list[int]:
        """Tokens for more of an answer."""
        return self._text("final", text)

    def called(self, name: str, arguments: str) -> list[int]:
        """Tokens for a call. `name` comes without its `functions.` prefix, as servers report it."""
        is_builtin = name == "python" or name.startswith("browser.")
        recipient = name if is_builtin else f"functions.{name.removeprefix('functions.')}"
        message = Message("assistant", arguments, "commentary", recipient, "<|constrain|>json")
        call = render_message(self._tokenizer, message)
        if self._open is None and not self._begun:
            call = call[len(assistant_start(self._tokenizer)) :]  # the prompt ends with it
        return self._keep([*([END] if self._open else []), *call])

    def finish(self, stopped: bool) -> list[int]:
        """The token that ended the generation, if the model `stopped` by itself."""
        return [RETURN] if stopped and self._last not in STOP_TOKENS else []

    def _text(self, channel: _Channel, text: str) -> list[int]:
        if not text:
            return []
        header: list[int] = []
        if self._open != channel:
            if self._begun:
                header = [*([END] if self._open else []), *assistant_start(self._tokenizer)]
            header += [CHANNEL, *self._tokenizer.encode(channel), MESSAGE]
        self._open = channel
        return self._keep([*header, *self._tokenizer.encode(text)])

    def _keep(self, token_ids: list[int]) -> list[int]:
        self._begun, self._last = True, token_ids[-1]
        return token_ids


def open_header(prompt: list[int], tokenizer: Tokenizer) -> tuple[list[int], bool] | None:
    """Make a prompt end with `<|start|>assistant`; also returns whether the header of an answer was cut off for that.

    Returns None for a prompt that ends inside a message, which only the model itself can continue.
    """
    begin = assistant_start(tokenizer)
    if prompt[-len(begin) :] == begin:
        return prompt, False
    start = len(prompt) - 1 - prompt[::-1].index(START) if START in prompt else 0
    if prompt[-1] != MESSAGE or prompt[start : start + len(begin)] != begin:
        return None
    return prompt[: start + len(begin)], True
