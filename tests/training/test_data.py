"""nano's training data: deterministic, as the product renders it, and correct."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.render import assistant_start
from gptoss_tui.harmony.tokenizer import CALL, RETURN, load_tokenizer
from gptoss_tui.tools.apply_patch import ApplyPatchTool
from gptoss_tui.tools.base import Workspace
from training.data import generate_group, preamble_ids
from training.data.chat import Chat, Scene, render_chat
from training.data.draw import Draw, is_held_combination, is_held_phrasing, is_held_word, word_list
from training.data.followup import follow_up
from training.data.holdout import SKILLS, held_out_chat, holdout_prompts
from training.data.intents import BEYOND, INTENTS
from training.data.mix import MAX_TOKENS, one_turn, pick_skill, scene_preamble, training_chat
from training.data.phrasing import parse, pick_template, say
from training.grading import read_files, run_python, write_files

ASSISTANT = tuple(assistant_start(load_tokenizer()))


def chats(count: int, scene: Scene | None = None, split: str = "phrasings") -> list[Chat]:
    """Conversations of one turn or a follow-up, without denials and errors that training adds at random."""
    made = []
    for number in range(count):
        draw = Draw(f"test {number}", "phrasings" if split == "phrasings" else "train")
        own = scene or Scene(python=number % 3 == 0, browser=number % 4 == 0)
        made.append(one_turn(own, draw, pick_skill(own, draw), held=False))
    return made


def test_same_seed_gives_same_group() -> None:
    assert generate_group(5, 1500) == generate_group(5, 1500)
    assert generate_group(5, 1500) != generate_group(6, 1500)


def test_group_fills_its_budget_with_short_conversations() -> None:
    group = generate_group(11, 4000)
    sizes = [sum(len(ids) for ids, _ in sample.segments) for sample in group.samples]
    assert sum(sizes) >= 4000
    assert max(sizes) <= MAX_TOKENS
    assert sum(sizes[:-1]) < 4000
    assert len({sample.preamble_key for sample in group.samples}) == 1


def test_learned_segments_end_where_a_generation_ends() -> None:
    for sample in generate_group(3, 4000).samples:
        assert not sample.segments[0][1]
        for (ids, learned), (_, next_learned) in itertools.pairwise([*sample.segments, ([], False)]):
            if learned and not next_learned:
                assert ids[-1] in (CALL, RETURN)


@pytest.mark.parametrize("seed", range(12))
def test_tokens_are_those_of_the_product(seed: int) -> None:
    """Every prompt of the last turn is what the agent's conversation would send after the same messages."""
    draw = Draw(seed)
    scene = Scene(python=True, browser=seed % 2 == 0)
    chat = training_chat(scene, draw) if seed % 3 else one_turn(scene, draw, follow_up, held=False)
    conversation = Conversation(load_tokenizer(), scene_preamble(scene))
    turns = [i for i, step in enumerate(chat.steps) if step.kind == "user"] + [len(chat.steps)]
    compared = 0
    for begin, end in itertools.pairwise(turns):
        conversation.add_user(chat.steps[begin].text)
        shown = list(preamble_ids(scene))
        written: list[int] = []
        replies = [step for step in chat.steps[begin:end] if step.kind == "reply"]
        for ids, learned in render_chat(Chat(scene, draw, steps=chat.steps[:end])):
            if learned:
                written += ids
                continue
            if written:
                conversation.append_sampled(written)
                shown += written
                written = []
            call = conversation.pending_call
            if call and tuple(ids) != ASSISTANT:
                reply = replies.pop(0)
                conversation.add_tool_reply(reply.to, reply.text, call.channel)
            shown += ids
            if tuple(ids) == ASSISTANT:
                assert shown == conversation.prompt_ids()
                compared += 1
        conversation.append_sampled(written)
    assert compared >= len(turns) - 1


async def test_patches_apply_and_give_the_expected_files(tmp_path: Path) -> None:
    applied = 0
    for number, chat in enumerate(chats(400, Scene())):
        expected = chat.expectation
        if expected.files_after is None or chat.skill == "after_error":
            continue
        root = tmp_path / str(number)
        root.mkdir()
        write_files(root, expected.files_before)
        tool = ApplyPatchTool(Workspace(root.resolve()))
        for i, step in enumerate(chat.steps):
            if step.to == "functions.apply_patch" and step.kind == "call":
                result = await (await tool.prepare(step.text)).run(lambda _: None)
                assert result.text == chat.steps[i + 1].text
                applied += 1
        assert read_files(root) == expected.files_after
    assert applied > 150


async def test_denied_conversations_stop() -> None:
    seen = 0
    for chat in chats(400, Scene(), split="train"):
        for i, step in enumerate(chat.steps):
            if step.kind == "reply" and step.text.startswith("The user did not allow"):
                seen += 1
                assert [s.kind for s in chat.steps[i + 1 :]] == ["analysis", "final"]
    assert seen


async def test_python_prints_what_the_data_say() -> None:
    for number in range(25):
        chat = held_out_chat("python", number, 1)
        code = next(step.text for step in chat.steps if step.kind == "call")
        said = next(step.text for step in chat.steps if step.kind == "reply")
        assert (await run_python(code)).strip() == said.strip()


def test_answers_hold_what_is_expected() -> None:
    for chat in chats(600):
        answer = chat.steps[-1].text
        assert chat.expectation.answer in (None, answer)
        assert all(part.strip() in answer for part in chat.expectation.answer_has)


def test_training_never_has_a_held_out_combination() -> None:
    for number in range(300):
        draw = Draw(number)
        chat = one_turn(Scene(python=True), draw, pick_skill(Scene(python=True), draw), held=False)
        assert not is_held_combination(chat.skill, chat.key)


@pytest.mark.parametrize("skill", SKILLS)
def test_held_out_prompts_are_held_out(skill: str) -> None:
    for number in range(5):
        chat = held_out_chat(skill, number, 1)
        assert is_held_combination(chat.skill, chat.key)
        assert chat.steps == held_out_chat(skill, number, 1).steps


def test_held_out_words_and_wordings() -> None:
    assert not any(is_held_word(w) for w in word_list("everyday", False))
    held = word_list("everyday", True)
    assert held
    assert all(is_held_word(w) for w in held)
    templates = INTENTS[10].phrasings + INTENTS[5].phrasings + INTENTS[12].phrasings
    assert not any(is_held_phrasing(pick_template(Draw(i), templates)) for i in range(100))
    assert all(is_held_phrasing(pick_template(Draw(i, "phrasings"), templates)) for i in range(20)) == any(
        is_held_phrasing(t) for t in templates
    )


def test_holdout_prompts_end_with_a_stop() -> None:
    cases = holdout_prompts(60, 3)
    assert {skill.rstrip("+") for skill, _, _ in cases} == set(SKILLS)
    assert all(expected[-1] in (CALL, RETURN) for _, _, expected in cases)
    starts = tuple(load_tokenizer().encode("assistant"))
    assert all(tuple(prompt[-len(starts) :]) == starts for _, prompt, _ in cases)


def test_every_wording_parses() -> None:
    for intent in (*INTENTS, *BEYOND):
        assert intent.phrasings
        for template in intent.phrasings:
            assert parse(template)
    with pytest.raises(ValueError, match="Unbalanced"):
        parse("[create|make {f}")


def test_slots_are_never_altered() -> None:
    for number in range(500):
        text = say(Draw(number), ("[create|make] {f} that prints {x}",), polite=True, f="aBc_de.py", x="Hello  World")
        assert "aBc_de.py" in text
        assert "Hello  World" in text
