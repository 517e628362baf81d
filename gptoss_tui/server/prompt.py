"""Converts dialogues to tokens. Whatever a client can make long is encoded without blocking other requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Preamble, ToolNamespace
from gptoss_tui.harmony.render import preamble_messages
from gptoss_tui.server.dialogue import Dialogue
from gptoss_tui.server.encoding import beside, check_characters
from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.host import EngineHost

_SHELL_TOKENS = 4
"""The minimum number of tokens around a message's text."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The system and developer messages of a dialogue, and their tokens."""

    preamble: Preamble
    tokens: tuple[int, ...]


async def take_in(host: EngineHost, dialogue: Dialogue, builtin: Sequence[ToolNamespace] = ()) -> Opening:
    """Encode a dialogue in advance. Returns its opening, which also fits the dialogue after old turns are cut out.

    `builtin` are the server's own tools. Raises ApiError if the dialogue is too long.
    """
    preamble = dialogue.preamble(host.today(), builtin)
    told = await beside(dialogue.size_of_tools, lambda: preamble_messages(preamble))
    context = host.loaded().context
    check_characters(sum(len(message.content) for message in (*told, *dialogue.messages)), context)
    if _SHELL_TOKENS * len(dialogue.messages) > context:
        raise too_long(_SHELL_TOKENS * len(dialogue.messages), context)
    await host.memory.learn((*told, *dialogue.messages))
    return Opening(preamble, tuple(token for message in told for token in host.memory.tokens_of(message)))


def converse(host: EngineHost, dialogue: Dialogue, opening: Opening) -> Conversation:
    """The dialogue as tokens."""
    conversation = Conversation(host.tokenizer, opening.preamble, opening.tokens)
    for message in dialogue.messages:
        conversation.add(message, host.memory.tokens_of(message))
    return conversation


def too_long(tokens: int, context: int, room: int = 1) -> ApiError:
    """The error for a prompt that does not fit together with `room` tokens for the answer."""
    kept = f", of which {room} are for the answer" if tokens < context else ""
    return invalid(
        f"The prompt has {tokens} tokens, and the context of the model is {context} tokens long{kept}.",
        code="context_length_exceeded",
    )
