"""No text of anybody becomes a control token, whatever field it stands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import (
    DeveloperContent,
    FunctionDeclaration,
    Message,
    Preamble,
    ResponseFormat,
    SystemContent,
    ToolNamespace,
)
from gptoss_tui.harmony.render import render_message, render_preamble
from gptoss_tui.harmony.tokenizer import CONSTRAIN, SPECIAL_TOKENS, Tokenizer
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, VOCAB_SIZE

SPELLED = [*SPECIAL_TOKENS.values(), *(f"<|reserved_{token}|>" for token in (200_000, 200_014, VOCAB_SIZE - 1))]
HOSTILE = (
    st.lists(st.one_of(st.sampled_from(SPELLED), st.text(max_size=8)), min_size=1, max_size=4).map("".join).filter(bool)
)

Render = Callable[[Tokenizer, str], Sequence[int]]


def _message(**fields: str) -> Render:
    def render(tokenizer: Tokenizer, text: str) -> Sequence[int]:
        values = {"role": "assistant", "content": "x", "channel": "commentary", **fields}
        return render_message(tokenizer, Message(**{k: text if v == "?" else v for k, v in values.items()}))  # type: ignore[arg-type]

    return render


def _system(**fields: str) -> Render:
    return lambda tokenizer, text: render_preamble(tokenizer, Preamble(SystemContent(**dict.fromkeys(fields, text))))  # type: ignore[arg-type]


def _developer(make: Callable[[str], DeveloperContent]) -> Render:
    return lambda tokenizer, text: render_preamble(tokenizer, Preamble(developer=make(text)))


def _namespace(make: Callable[[str], ToolNamespace]) -> Render:
    return _developer(lambda text: DeveloperContent("x", make(text)))


def _parameter(make: Callable[[str], object]) -> Render:
    def declare(text: str) -> ToolNamespace:
        schema = {"type": "object", "properties": {"p": make(text)}}
        return ToolNamespace("functions", functions=(FunctionDeclaration("f", "", schema),))

    return _namespace(declare)


def _steering(tokenizer: Tokenizer, text: str) -> Sequence[int]:
    conversation = Conversation(tokenizer, Preamble())
    conversation.add_user(text)
    conversation.add_steering(text)
    conversation.add_tool_reply("functions.x", text, "commentary")
    return conversation.prompt_ids()


FIELDS: dict[str, Render] = {
    "a person's message": _message(role="user", content="?", channel="analysis"),
    "a name": _message(role="user", name="?"),
    "a tool's reply": _message(role="tool", name="functions.x", recipient="assistant", content="?"),
    "a tool's name": _message(role="tool", name="?", recipient="assistant"),
    "a channel": _message(channel="?"),
    "a recipient": _message(recipient="?"),
    "a content type": _message(content_type="?"),
    "all that a conversation takes": _steering,
    "the identity": _system(model_identity=""),
    "the date": _system(current_date=""),
    "the cutoff": _system(knowledge_cutoff=""),
    "a channel of the system": lambda tokenizer, text: render_preamble(
        tokenizer, Preamble(SystemContent(valid_channels=(text,)))
    ),
    "a tool of the system": lambda tokenizer, text: render_preamble(
        tokenizer, Preamble(SystemContent(tools=(ToolNamespace(text, text),)))
    ),
    "instructions": _developer(DeveloperContent),
    "the form of answers": _developer(lambda text: DeveloperContent(response_format=ResponseFormat(text, text, text))),
    "a namespace": _namespace(lambda text: ToolNamespace(text, text, (FunctionDeclaration("f", ""),))),
    "a function": _namespace(lambda text: ToolNamespace("functions", functions=(FunctionDeclaration(text, text),))),
    "a description": _parameter(lambda text: {"type": "string", "description": text, "title": text}),
    "a default": _parameter(lambda text: {"type": "string", "default": text}),
    "an enum": _parameter(lambda text: {"type": "string", "enum": [text, "x"]}),
    "a type": _parameter(lambda text: {"type": text}),
    "a property": _parameter(lambda text: {"type": "object", "properties": {text: {"type": "string"}}}),
    "an example": _parameter(lambda text: {"type": "string", "examples": [text]}),
    "a constant": _parameter(lambda text: {"const": text}),
}


@pytest.mark.parametrize("field", FIELDS)
@given(text=HOSTILE)
@settings(max_examples=60, deadline=None)
def test_text_adds_no_control_token(tokenizer: Tokenizer, field: str, text: str) -> None:
    """The control tokens are those of the same field with a harmless text, one by one."""
    wanted = control_tokens(FIELDS[field](tokenizer, "x"))
    got = control_tokens(FIELDS[field](tokenizer, text))
    if field == "a content type" and text.startswith(SPECIAL_TOKENS[CONSTRAIN]):
        got.remove(CONSTRAIN)  # the one that a content type begins with, as models write it
    assert got == wanted


def control_tokens(tokens: Sequence[int]) -> list[int]:
    return [token for token in tokens if token >= NUM_TEXT_TOKENS]
