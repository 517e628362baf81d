"""The published golden prompts and Python test cases of openai-harmony, against our renderer and parser.

The prompts themselves are not here: each conversation is rendered by the installed library and by us, token for token,
and what comes out has the digest of the published file (repository openai/harmony, folder `test-data`). What we do
otherwise on purpose is in `DEVIATIONS` and in docs/harmony.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import openai_harmony as lib
import pytest

from gptoss_tui.harmony.builtin import browser_namespace, python_namespace
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import (
    DeveloperContent,
    Effort,
    FunctionDeclaration,
    Message,
    Preamble,
    SystemContent,
    ToolNamespace,
)
from gptoss_tui.harmony.parser import MessageFinished
from gptoss_tui.harmony.render import assistant_start, render_message, render_preamble
from gptoss_tui.harmony.tokenizer import END, MESSAGE, START, Tokenizer
from tests.harmony import library
from tests.harmony.wire import parse, parse_messages, wire

DATE = "2025-06-28"
ROBOT = DeveloperContent("Answer the user's questions like a robot.")
CAPITAL = "What is the capital of the largest country in the world?"
NO_CALLS = ("analysis", "final")
UNITS = {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"}
WEATHER = FunctionDeclaration(
    "lookup_weather",
    "Use this tool to lookup the weather in a given location. "
    "Call it with the parameter 'location', can be any textual description of a location.",
    {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
)
FUNCTIONS = (
    FunctionDeclaration("get_location", "Gets the location of the user."),
    FunctionDeclaration(
        "get_current_weather",
        "Gets the current weather in the provided location.",
        {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "format": UNITS,
            },
            "required": ["location"],
        },
    ),
    FunctionDeclaration(
        "get_multiple_weathers",
        "Gets the current weather in the provided list of locations.",
        {
            "type": "object",
            "properties": {
                "locations": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": 'List of city and state, e.g. ["San Francisco, CA", "New York, NY"]',
                },
                "format": UNITS,
            },
            "required": ["locations"],
        },
    ),
    FunctionDeclaration(
        "kitchensink",
        "A function with various complex schemas.",
        {
            "description": "params object",
            "type": "object",
            "properties": {
                "string": {
                    "type": "string",
                    "title": "STRING",
                    "description": "A string",
                    "examples": ["hello", "world"],
                },
                "string_nullable": {
                    "type": "string",
                    "nullable": True,
                    "description": "A nullable string",
                    "default": "the default",
                },
                "string_enum": {"type": "string", "enum": ["a", "b", "c"]},
                "oneof_string_or_number": {
                    "oneOf": [
                        {"type": "string", "default": "default_string_in_oneof"},
                        {"type": "number", "description": "numbers can happen too"},
                    ],
                    "description": "a oneof",
                    "default": 20,
                },
            },
        },
    ),
)


def asked(
    text: str, effort: Effort = "medium", developer: DeveloperContent | None = None
) -> tuple[Preamble, list[Message]]:
    return Preamble(SystemContent(effort), developer), [Message("user", text)]


def with_tools(*tools: ToolNamespace, developer: DeveloperContent | None = None) -> tuple[Preamble, list[Message]]:
    return Preamble(SystemContent(current_date=DATE, tools=tools), developer), []


BROWSER = browser_namespace("web (default: web)")
PROMPTS: dict[str, tuple[Preamble, list[Message]]] = {
    "simple_convo": asked("What is 2 + 2?"),
    **{
        f"simple_convo_{effort}_effort{suffix}": asked(CAPITAL, effort, developer)
        for effort in ("low", "medium", "high")
        for suffix, developer in (("", ROBOT), ("_no_instruction", None))
    },
    "reasoning_system_message": (Preamble(SystemContent(valid_channels=NO_CALLS)), [Message("user", "What is 2 + 2?")]),
    "reasoning_system_message_no_instruction": (
        Preamble(SystemContent("high", valid_channels=NO_CALLS)),
        [Message("user", "What is the best place to eat candy in the world?")],
    ),
    "reasoning_system_message_with_dates": (
        Preamble(SystemContent(current_date="2021-01-01", knowledge_cutoff="2021-01", valid_channels=NO_CALLS)),
        [Message("user", "What is 42 * pi?")],
    ),
    "render_functions_with_parameters": (
        Preamble(
            SystemContent("high", DATE),
            DeveloperContent("Always respond in riddles", ToolNamespace("functions", functions=FUNCTIONS)),
        ),
        [Message("user", "What is the weather like in SF?")],
    ),
    "no_tools": with_tools(),
    "browser_tool_only": with_tools(BROWSER),
    "browser_and_function_tool": with_tools(
        BROWSER, developer=DeveloperContent(functions=ToolNamespace("functions", functions=(WEATHER,)))
    ),
    "browser_and_python_tool": with_tools(BROWSER, python_namespace()),
}
DIGESTS = {
    "browser_and_function_tool": "fc637e64778fe0dd",
    "browser_and_python_tool": "38385742ec88222a",
    "browser_tool_only": "7269842a4d35e7da",
    "does_not_drop_if_ongoing_analysis": "127d10131742c057",
    "dropping_cot_by_default": "16c172504b489aed",
    "keep_analysis_between_finals": "f10c5d7cbd20c62f",
    "no_tools": "edf5933a2242c503",
    "preserve_cot": "45578dfbd61c8a55",
    "reasoning_system_message": "b63e0e048b59c70e",
    "reasoning_system_message_no_instruction": "2c15de121ecfa4c4",
    "reasoning_system_message_with_dates": "4d707e1900094bd0",
    "render_functions_with_parameters": "45a968b615c8a5cc",
    "simple_convo": "b7e6743bb8e5ddbd",
    "simple_convo_high_effort": "b813600c32f652df",
    "simple_convo_high_effort_no_instruction": "1900d3e9ed57c2b9",
    "simple_convo_low_effort": "b621f6b6c19736eb",
    "simple_convo_low_effort_no_instruction": "972feb2d16a4bec2",
    "simple_convo_medium_effort": "5fda0a4c7ba61a81",
    "simple_convo_medium_effort_no_instruction": "9cea812735e65f5f",
    "tool_response_parsing": "d0ac5ed4e41e8c30",
}
"""Of the published texts, without the line end behind them."""


@pytest.mark.parametrize("name", PROMPTS)
def test_golden_prompt(tokenizer: Tokenizer, name: str) -> None:
    preamble, messages = PROMPTS[name]
    ours = render_preamble(tokenizer, preamble)
    for message in messages:
        ours += render_message(tokenizer, message)
    ours += assistant_start(tokenizer)
    theirs = lib.Conversation.from_messages(library.preamble(preamble) + [library.message(m) for m in messages])
    assert ours == library.encoding().render_conversation_for_completion(theirs, lib.Role.ASSISTANT)
    assert digest(tokenizer, ours) == DIGESTS[name]


def digest(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    return hashlib.sha256(tokenizer.decode(tokens).encode()).hexdigest()[:16]


# -- thoughts of turns before -----------------------------------------------------------------------------------------


def say(channel: str, text: str) -> Message:
    return Message("assistant", text, channel)


SUM = "What is 2 + 2?"
DIALOGUES: dict[str, list[Message]] = {
    "dropping_cot_by_default": [
        Message("user", SUM),
        say("analysis", "User asks: \u201cWhat is 2 + 2?\u201d Simple arithmetic. Provide answer."),
        say("final", "2 + 2 equals 4."),
        Message("user", "What about 9 / 2?"),
    ],
    "does_not_drop_if_ongoing_analysis": [
        Message("user", "What is the weather in SF?"),
        say(
            "analysis",
            "User asks: \u201cWhat is the weather in SF?\u201d We need to use lookup_weather tool.",
        ),
        Message(
            "assistant",
            '{"location": "San Francisco"}',
            "commentary",
            "functions.lookup_weather",
            "<|constrain|>json",
        ),
        Message("tool", '{"temperature": 20, "description": "sunny"}', name="functions.lookup_weather"),
    ],
    "keep_analysis_between_finals": [
        Message("user", SUM),
        say("analysis", "thinking 2+2"),
        say("final", "4"),
        Message("user", "What is 3 + 5?"),
        say("analysis", "thinking 3+5"),
        say("final", "8"),
    ],
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_golden_dialogue(tokenizer: Tokenizer, name: str) -> None:
    """Through our conversation, which always has a preamble: what stands behind it is the published text."""
    conversation = Conversation(tokenizer, Preamble())
    for message in DIALOGUES[name]:
        if message.role == "user":
            conversation.add_user(message.content)
        else:
            conversation.add(message)
    ours = conversation.tokens if name == "keep_analysis_between_finals" else conversation.prompt_ids()
    assert digest(tokenizer, ours[conversation.preamble_length :]) == DIGESTS[name]


def test_golden_dialogue_with_all_thoughts(tokenizer: Tokenizer) -> None:
    messages = [
        Message("user", SUM),
        say("analysis", 'User asks a simple question: "What is 2 + 2?" The answer: 4.'),
        say("final", "2 + 2 equals 4."),
        Message("user", "What about 9 / 2?"),
    ]
    ours = [token for message in messages for token in render_message(tokenizer, message)]
    assert ours == library.render([library.message(message) for message in messages])
    assert digest(tokenizer, ours + assistant_start(tokenizer)) == DIGESTS["preserve_cot"]


# -- reading ----------------------------------------------------------------------------------------------------------

CALL = ("commentary", "functions.get_weather", "<|constrain|>json")
READ: dict[str, tuple[str, list[Message]]] = {
    "simple_reasoning_response": (
        '<|channel|>analysis<|message|>User asks: "What is 2 + 2?" Simple arithmetic. Provide answer.<|end|>'
        "<|start|>assistant<|channel|>final<|message|>2 + 2 = 4.<|return|>",
        [
            say("analysis", 'User asks: "What is 2 + 2?" Simple arithmetic. Provide answer.'),
            say("final", "2 + 2 = 4."),
        ],
    ),
    "simple_tool_call": (
        '<|channel|>analysis<|message|>User asks: "What is the weather in Tokyo?" We need to use lookup_weather tool.'
        "<|end|><|start|>assistant<|channel|>analysis to=lookup_weather code<|message|>"
        '{"location": "Tokyo"}<|call|>',
        [
            say("analysis", 'User asks: "What is the weather in Tokyo?" We need to use lookup_weather tool.'),
            Message("assistant", '{"location": "Tokyo"}', "analysis", "lookup_weather", "code"),
        ],
    ),
    "constrain": (
        " to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
        [Message("assistant", "{}", *CALL)],
    ),
    "constrain_adjacent": (
        " to=functions.get_weather<|channel|>commentary<|constrain|>json<|message|>{}<|call|>",
        [Message("assistant", "{}", *CALL)],
    ),
    "channel_before_recipient_and_constrain_adjacent": (
        "<|channel|>commentary to=functions.get_weather<|constrain|>json<|message|>{}<|call|>",
        [Message("assistant", "{}", *CALL)],
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_models_wrote_is_read_as_the_library_reads_it(name: str) -> None:
    text, messages = READ[name]
    tokens = wire(text)
    assert [event.message for event in parse_messages(tokens)] == messages
    assert all(event.recovered == () for event in parse_messages(tokens))
    theirs = library.encoding().parse_messages_from_completion_tokens(tokens, lib.Role.ASSISTANT)
    assert theirs == [library.message(message) for message in messages]


def test_the_reply_of_a_tool(tokenizer: Tokenizer) -> None:
    reply = Message("tool", '{"result": "https://openai.com/"}', "commentary", "assistant", name="browser.search")
    tokens = render_message(tokenizer, reply)
    assert digest(tokenizer, tokens[:-1]) == DIGESTS["tool_response_parsing"]
    assert [event.message for event in parse_messages(tokens, sampled=False)] == [reply]


TRICKY = (
    "M\u00fcller, \u0393\u03b5\u03b9\u03ac, \u041f\u0440\u0438\u0432\u0435\u0442, \u05e9\u05dc\u05d5\u05dd, "
    "\u0645\u0631\u062d\u0628\u0627, \u0928\u092e\u0938\u094d\u0924\u0947, \u3053\u3093, \uc548\ub155, \u4f60\u597d. "
    "na\u00efve, nai\u0308ve. "
    "\U0001f60a\U0001f44b\U0001f3fe\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f1fa\U0001f1f8."
)
HALF = 9552
"""A token of the bytes 20 F0 9F: a space, and the beginning of a code point that never comes."""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (lambda encode: [HALF, HALF, *encode("worked")], " \ufffd \ufffdworked"),
        (lambda encode: [HALF, *encode("XY")], " \ufffdXY"),
        (lambda encode: [HALF, *encode(" interesting")], " \ufffd interesting"),
        (lambda encode: encode(TRICKY), TRICKY),
    ],
)
def test_bytes_are_read_as_the_library_reads_them(
    tokenizer: Tokenizer, content: Callable[[Callable[[str], list[int]]], list[int]], text: str
) -> None:
    """Ours also where the end of the message never comes."""
    tokens = [START, *tokenizer.encode("assistant"), MESSAGE, *content(tokenizer.encode)]
    for ended in ([END], []):
        (message,) = parse_messages(tokens + ended, sampled=False)
        assert message.message.content == text
    (theirs,) = read_by_library([*tokens, END], None)
    assert theirs == (None, text)


def read_by_library(
    tokens: Sequence[int], role: lib.Role | None, *, strict: bool = True
) -> list[tuple[str | None, str]]:
    """Channel and text of each message."""
    parser = lib.StreamableParser(library.encoding(), role, strict=strict)
    for token in tokens:
        parser.process(token)
    return [(message.channel, message.content[0].text) for message in parser.messages]


def test_tokens_of_text() -> None:
    """What the library's cases say of single ids; text that looks like a control token is always text here."""
    tokenizer = library.load_tokenizer()
    assert tokenizer.encode("hello world") == [24912, 2375]
    assert tokenizer.encode("<|start|>") == [27, 91, 5236, 91, 29]
    assert tokenizer.decode([200_014]) == "<|reserved_200014|>"
    assert "Chicken" in tokenizer.decode([132_990, HALF])


# -- what is not the same, on purpose ---------------------------------------------------------------------------------

REFUSAL = (
    "<|end|><|start|>assistant<|channel|>analysis<|message|>We must refuse<|end|>"
    "<|start|>assistant<|channel|>final<|message|>No.<|return|>"
)
DEVIATIONS: dict[str, tuple[str, list[tuple[str | None, str]], list[tuple[str | None, str]]]] = {
    "text without a header": (
        f"I must refuse{REFUSAL}",
        [(None, "I must refuse"), ("analysis", "We must refuse"), ("final", "No.")],
        [("final", "I must refuse"), ("analysis", "We must refuse"), ("final", "No.")],
    ),
    "a header whose <|message|> is missing": (
        f"<|channel|>analysis I must refuse{REFUSAL}",
        [("analysis", "I must refuse"), ("analysis", "We must refuse"), ("final", "No.")],
        [("analysis", "I must refuse"), ("analysis", "We must refuse"), ("final", "No.")],
    ),
    "text without a header, then a call": (
        "... Let's use the tool.<|end|><|start|>assistant to=functions.get_weather<|channel|>commentary json"
        '<|message|>{"location": "Tokyo"}<|call|>',
        [(None, "... Let's use the tool."), ("commentary", '{"location": "Tokyo"}')],
        [("final", "... Let's use the tool."), ("commentary", '{"location": "Tokyo"}')],
    ),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_malformed_output_is_never_an_error(name: str) -> None:
    """The library raises, or when it is not strict reads what it can; we always read, say so, and name a channel."""
    text, theirs, ours = DEVIATIONS[name]
    tokens = wire(text)
    with pytest.raises(lib.HarmonyError):
        read_by_library(tokens, lib.Role.ASSISTANT)
    assert read_by_library(tokens, lib.Role.ASSISTANT, strict=False) == theirs
    events = [event for event in parse(tokens) if isinstance(event, MessageFinished)]
    assert [(event.message.channel, event.message.content) for event in events] == ours
    assert events[0].recovered


def test_a_message_that_was_returned_ends_in_the_history(tokenizer: Tokenizer) -> None:
    """`<|return|>` is of training data: a conversation that goes on has `<|end|>` there, as the library renders it."""
    conversation = Conversation(tokenizer, Preamble())
    conversation.add_user("hi")
    conversation.append_sampled(wire("<|channel|>final<|message|>hello<|return|>"))
    theirs = library.render([library.message(Message("user", "hi")), library.message(say("final", "hello"))])
    conversation.close_turn()
    assert conversation.tokens[conversation.preamble_length :] == theirs
