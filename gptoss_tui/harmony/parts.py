"""Answers that a server has taken apart already, as the tokens that the model must have written.

Some servers keep the control tokens to themselves and tell thoughts, answers and calls as fields of JSON. All text is
encoded as text here, so nothing in it can be a control token.
"""

from __future__ import annotations

from typing import Literal

from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.render import assistant_start, render_message
from gptoss_tui.harmony.tokenizer import CHANNEL, END, MESSAGE, RETURN, START, STOP_TOKENS, Tokenizer

_Channel = Literal["analysis", "final"]


class PartsReader:
    """One generation. With `answering` the prompt has the header of the answer: thoughts have no place then."""

    def __init__(self, tokenizer: Tokenizer, *, answering: bool) -> None:
        self._tokenizer = tokenizer
        self._answering = answering
        self._open: _Channel | None = "final" if answering else None
        self._begun = False
        self._last: int | None = None

    def thought(self, text: str) -> list[int]:
        """More of a thought."""
        return [] if self._answering else self._text("analysis", text)

    def said(self, text: str) -> list[int]:
        """More of an answer."""
        return self._text("final", text)

    def called(self, name: str, arguments: str) -> list[int]:
        """A call. `name` is without its `functions.`, as servers tell it."""
        is_builtin = name == "python" or name.startswith("browser.")
        recipient = name if is_builtin else f"functions.{name.removeprefix('functions.')}"
        message = Message("assistant", arguments, "commentary", recipient, "<|constrain|>json")
        call = render_message(self._tokenizer, message)
        if self._open is None and not self._begun:
            call = call[len(assistant_start(self._tokenizer)) :]  # the prompt ends with it
        return self._keep([*([END] if self._open else []), *call])

    def finish(self, stopped: bool) -> list[int]:
        """The token that ended the generation, where the model `stopped` by itself."""
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
    """A prompt that ends with `<|start|>assistant`, and whether a header of an answer was cut off for that.

    None for a prompt that ends inside a message: only the model itself can go on there.
    """
    begin = assistant_start(tokenizer)
    if prompt[-len(begin) :] == begin:
        return prompt, False
    start = len(prompt) - 1 - prompt[::-1].index(START) if START in prompt else 0
    if prompt[-1] != MESSAGE or prompt[start : start + len(begin)] != begin:
        return None
    return prompt[: start + len(begin)], True
