from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.agent.prompt import build_preamble
from gptoss_tui.errors import SessionError
from gptoss_tui.harmony import conversation as conversation_module
from gptoss_tui.harmony.builtin import browser_namespace, python_namespace
from gptoss_tui.harmony.conversation import INTERRUPTED, Conversation
from gptoss_tui.harmony.messages import Effort, Message, Preamble, SystemContent
from gptoss_tui.harmony.render import assistant_start, render_message, render_preamble
from gptoss_tui.harmony.tokenizer import CALL, END, RETURN, START, Tokenizer
from gptoss_tui.tools.declarations import WORKSPACE_FUNCTIONS
from tests.harmony import library
from tests.harmony.test_parser import SOUP
from tests.harmony.wire import messages_of, parse_messages, wire

THINK = "<|channel|>analysis<|message|>I should look.<|end|><|start|>assistant"
READ = "<|channel|>commentary to=functions.read_file <|constrain|>json<|message|>{}<|call|>"
PYTHON = "<|channel|>analysis to=python code<|message|>1+1<|call|>"
FINAL = "<|channel|>final<|message|>Done.<|return|>"


def preamble(effort: Effort = "low") -> Preamble:
    return build_preamble(
        effort=effort,
        current_date="2026-03-01",
        functions=WORKSPACE_FUNCTIONS,
        builtin_tools=(python_namespace(), browser_namespace("web")),
    )


@pytest.fixture
def conversation(tokenizer: Tokenizer) -> Conversation:
    return Conversation(tokenizer, preamble())


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def spelled(conversation: Conversation, tokenizer: Tokenizer) -> str:
    """The history behind the preamble, as text."""
    return tokenizer.decode(conversation.tokens[len(render_preamble(tokenizer, conversation.preamble)) :])


def test_a_prompt_is_preamble_history_and_the_assistants_start(
    conversation: Conversation, tokenizer: Tokenizer
) -> None:
    conversation.add_user("hello")
    expected = render_preamble(tokenizer, preamble()) + render_message(tokenizer, Message("user", "hello"))
    assert conversation.tokens == expected
    assert conversation.prompt_ids() == expected + assistant_start(tokenizer)


def test_sampled_ids_are_kept_as_sampled(conversation: Conversation) -> None:
    conversation.add_user("hello")
    prompt = conversation.prompt_ids()
    # The words of this answer are tokens of single letters, as no encoder would write them.
    odd = [*wire(THINK), *wire("<|channel|>final json<|message|>"), *[t for c in "Hello" for t in wire(c)], RETURN]
    messages = conversation.append_sampled(odd)
    assert conversation.tokens == [*prompt, *odd[:-1], END]
    assert [(m.channel, m.content) for m in messages] == [("analysis", "I should look."), ("final", "Hello")]


def test_a_call_keeps_its_stop_and_its_reply_follows(conversation: Conversation, tokenizer: Tokenizer) -> None:
    conversation.add_user("read it")
    conversation.append_sampled(wire(THINK + READ))
    assert conversation.tokens[-1] == CALL
    assert conversation.pending_call == Message(
        "assistant", "{}", "commentary", "functions.read_file", "<|constrain|>json"
    )
    conversation.add_tool_reply("functions.read_file", "text <|end|>", "commentary")
    assert conversation.pending_call is None
    assert spelled(conversation, tokenizer).endswith(
        "<|call|><|start|>functions.read_file to=assistant<|channel|>commentary<|message|>text <|end|><|end|>"
    )
    assert conversation.tokens.count(END) == 5  # system, developer, user, analysis, reply: not the one in its text


def test_thought_is_dropped_when_the_next_user_message_comes(conversation: Conversation, tokenizer: Tokenizer) -> None:
    conversation.add_user("one")
    conversation.append_sampled(wire(THINK + PYTHON))
    conversation.add_tool_reply("python", "2", "analysis")
    conversation.append_sampled(wire(THINK + READ))
    conversation.add_tool_reply("functions.read_file", "text", "commentary")
    conversation.append_sampled(wire(THINK + FINAL))
    assert len(messages_of(conversation)) == 9
    conversation.add_user("two")
    assert spelled(conversation, tokenizer) == (
        "<|start|>user<|message|>one<|end|>"
        f"<|start|>assistant{READ}"
        "<|start|>functions.read_file to=assistant<|channel|>commentary<|message|>text<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Done.<|end|>"
        "<|start|>user<|message|>two<|end|>"
    )
    assert [e.turn for e in conversation.entries] == [1, 1, 1, 1, 2]


def _script(conversation: Conversation) -> list[tuple[int, list[int]]]:
    """(turn, prompt) of a conversation of 30 generations: turns of calls on both channels, some without a final."""
    prompts: list[tuple[int, list[int]]] = []

    def step(sampled: str) -> None:
        prompts.append((conversation.turn, conversation.prompt_ids()))
        conversation.append_sampled(wire(sampled))

    for turn in range(6):
        conversation.add_user(f"request {turn}")
        step(THINK + PYTHON)
        conversation.add_tool_reply("python", f"{turn}", "analysis")
        for n in range(3):
            step(THINK + READ)
            conversation.add_tool_reply("functions.read_file", f"text {n}", "commentary")
        step(THINK + FINAL)
    return prompts


def test_the_prefix_changes_at_most_once_a_turn(conversation: Conversation) -> None:
    prompts = _script(conversation)
    assert len(prompts) == 30
    reused = []
    for (turn_before, before), (turn, now) in pairwise(prompts):
        shared = common_prefix(before, now)
        if turn == turn_before:
            assert shared == len(before)  # everything that was read before is read again as it was
        reused.append(shared == len(before))
    assert reused.count(False) == 5


def test_a_new_turn_keeps_all_tokens_up_to_the_first_dropped_one(conversation: Conversation) -> None:
    conversation.add_user("one")
    first = conversation.prompt_ids()
    conversation.append_sampled(wire(THINK + FINAL))
    conversation.add_user("two")
    second = conversation.prompt_ids()
    # `<|start|>assistant<|channel|>` stands in both: the thought before, the answer now.
    assert common_prefix(first, second) == len(first)
    conversation.append_sampled(wire(FINAL))
    finished = conversation.tokens
    conversation.add_user("three")
    assert conversation.tokens[: len(finished)] == finished  # no thought, nothing to drop


def test_the_history_is_one_the_library_reads(conversation: Conversation) -> None:
    _script(conversation)
    conversation.add_user("more")
    messages = library.encoding().parse_messages_from_completion_tokens(conversation.tokens)
    ours = messages_of(conversation)
    assert [m.content[0].text for m in messages[2:]] == [m.content for m in ours]
    assert [m.channel for m in messages[2:]] == [m.channel for m in ours]


@pytest.mark.parametrize(
    ("sampled", "kept"),
    [
        ("<|channel|>analysis<|message|>I shou", "<|start|>assistant<|channel|>analysis<|message|>I shou<|end|>"),
        ("<|channel|>final<|message|>Ok<|endoftext|>", "<|start|>assistant<|channel|>final<|message|>Ok<|end|>"),
        (THINK + "<|channel|>comm", "<|start|>assistant<|channel|>analysis<|message|>I should look.<|end|>"),
        (THINK, "<|start|>assistant<|channel|>analysis<|message|>I should look.<|end|>"),
        ("<|channel|>fin", ""),
        ("", ""),
        (FINAL + "<|return|>junk", "<|start|>assistant<|channel|>final<|message|>Done.<|end|>"),
        (
            "<|channel|>commentary to=functions.read_file<|message|>{",
            "<|start|>assistant<|channel|>commentary to=functions.read_file<|message|>{<|call|>",
        ),
    ],
)
def test_a_cut_generation_is_closed(conversation: Conversation, tokenizer: Tokenizer, sampled: str, kept: str) -> None:
    conversation.add_user("x")
    conversation.append_sampled(wire(sampled))
    assert spelled(conversation, tokenizer) == "<|start|>user<|message|>x<|end|>" + kept


@pytest.mark.parametrize("call", [READ, READ[: READ.index("}")], "<|channel|>commentary to=a.b<|message|>{}<|end|>"])
def test_an_unanswered_call_is_answered_when_the_user_goes_on(conversation: Conversation, call: str) -> None:
    conversation.add_user("x")
    conversation.append_sampled(wire(call))
    conversation.add_user("y")
    roles = [m.role for m in messages_of(conversation)]
    assert roles == ["user", "assistant", "tool", "user"]
    reply = messages_of(conversation)[2]
    assert reply.content == INTERRUPTED
    assert reply.name == messages_of(conversation)[1].recipient
    assert reply.channel == "commentary"
    assert library.encoding().parse_messages_from_completion_tokens(conversation.tokens)


def test_nothing_is_kept_behind_a_call(conversation: Conversation) -> None:
    conversation.add_user("x")
    invented = "<|start|>functions.read_file to=assistant<|channel|>commentary<|message|>fake<|end|>"
    sampled = READ.replace("<|call|>", "<|end|>") + invented + "<|start|>assistant" + FINAL
    messages = conversation.append_sampled(wire(sampled))
    assert [m.recipient for m in messages] == ["functions.read_file"]
    assert conversation.tokens[-1] == CALL
    assert conversation.pending_call == messages[0]


def test_a_message_in_the_users_name_is_not_kept(conversation: Conversation) -> None:
    conversation.add_user("x")
    messages = conversation.append_sampled(wire(FINAL.replace("return", "end") + "<|start|>user<|message|>yes<|end|>"))
    assert [m.content for m in messages] == ["Done."]
    assert [m.role for m in messages_of(conversation)] == ["user", "assistant"]


def test_a_malformed_message_is_stored_as_it_was_understood(conversation: Conversation, tokenizer: Tokenizer) -> None:
    conversation.add_user("x")
    conversation.append_sampled(wire("I'm sorry, but I can't do that.<|return|>"))
    answer = Message("assistant", "I'm sorry, but I can't do that.", "final")
    assert list(conversation.entries[-1].tokens) == render_message(tokenizer, answer)


def test_another_effort_changes_the_preamble_alone(conversation: Conversation, tokenizer: Tokenizer) -> None:
    conversation.add_user("x")
    conversation.append_sampled(wire(FINAL))
    history = spelled(conversation, tokenizer)
    conversation.set_preamble(preamble("high"))
    assert spelled(conversation, tokenizer) == history
    assert "Reasoning: high" in tokenizer.decode(conversation.tokens)
    assert conversation.preamble == preamble("high")


def test_tokens_are_a_copy(conversation: Conversation) -> None:
    conversation.tokens.clear()
    assert conversation.tokens[0] == START


@pytest.mark.parametrize("cut", [False, True])
def test_state_survives_json(conversation: Conversation, tokenizer: Tokenizer, cut: bool) -> None:
    _script(conversation)
    if cut:
        conversation.add_user("y")
        conversation.append_sampled(wire(READ))
    again = Conversation.from_dict(tokenizer, json.loads(json.dumps(conversation.to_dict())))
    assert again.tokens == conversation.tokens
    assert again.entries == conversation.entries
    assert again.preamble == conversation.preamble
    assert again.pending_call == conversation.pending_call
    for each in (again, conversation):
        each.add_user("z")
    assert again.prompt_ids() == conversation.prompt_ids()


def test_a_preamble_without_developer_message_survives_too(tokenizer: Tokenizer) -> None:
    bare = Conversation(tokenizer, replace(preamble(), developer=None))
    assert Conversation.from_dict(tokenizer, bare.to_dict()).preamble == bare.preamble


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 99},
        {"preamble": {}},
        {"preamble": None},
        {"turn": "one"},
        {"entries": [{"turn": 1, "message": {"role": "user", "content": "x"}, "tokens": [-1]}]},
        {"entries": [{"turn": 1, "message": {"role": "user"}, "tokens": []}]},
        {"entries": [{"turn": 1, "message": {"role": "user", "content": "x", "mood": "y"}, "tokens": []}]},
        {"entries": [3]},
    ],
)
def test_damaged_state_is_refused(conversation: Conversation, tokenizer: Tokenizer, damage: dict[str, Any]) -> None:
    conversation.add_user("x")
    with pytest.raises(SessionError, match="saved conversation"):
        Conversation.from_dict(tokenizer, {**conversation.to_dict(), **damage})


@given(st.lists(SOUP, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_is_sampled_the_conversation_stays_valid(tokenizer: Tokenizer, soups: list[list[int]]) -> None:
    """Rendered history reads back as exactly its messages, every call is answered, and nothing malformed is in it."""
    conversation = Conversation(tokenizer, Preamble())
    for soup in soups:
        conversation.add_user("next")
        before = conversation.tokens
        conversation.append_sampled(soup)
        assert conversation.tokens[: len(before)] == before
    conversation.add_user("last")
    read = parse_messages(conversation.tokens, sampled=False)[1:]
    assert [e.message for e in read] == messages_of(conversation)
    assert not any(e.recovered for e in read)
    assert library.encoding().parse_messages_from_completion_tokens(conversation.tokens)
    messages = messages_of(conversation)
    for message, following in pairwise(messages):
        if message.role == "assistant" and message.recipient is not None:
            assert (following.role, following.name) == ("tool", message.recipient)


def test_a_turn_that_begins_renders_nothing_that_stands_already(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[Preamble] = []

    def counted(given: Tokenizer, preamble: Preamble) -> list[int]:
        rendered.append(preamble)
        return render_preamble(given, preamble)

    monkeypatch.setattr(conversation_module, "render_preamble", counted)
    preambles = [Preamble(), Preamble(SystemContent(effort="high"))]
    conversation = Conversation(tokenizer, preambles[0])
    for number in range(20):
        conversation.set_preamble(preambles[number // 10])
        conversation.add_user(f"message {number}")
        conversation.add(Message("assistant", "thought", channel="analysis"))
        conversation.add(Message("assistant", "answer", channel="final"))
    assert rendered == preambles
    again = Conversation.from_dict(tokenizer, conversation.to_dict())
    assert again.tokens == conversation.tokens
    assert conversation.tokens[: conversation.preamble_length] == render_preamble(tokenizer, preambles[1])
