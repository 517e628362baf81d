"""nano's training data: conversations made from a seed, rendered as the product renders them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gptoss_tui.harmony.messages import Preamble
from gptoss_tui.harmony.render import render_preamble
from gptoss_tui.harmony.tokenizer import load_tokenizer
from training.data.chat import Scene, Segment, render_chat
from training.data.draw import Draw
from training.data.mix import MAX_TOKENS, random_scene, scene_preamble, training_chat

__all__ = ["Group", "Sample", "generate_group"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversation. `segments` are the tokens after the preamble and whether the model must learn them."""

    preamble_key: tuple[str | bool | None, ...]
    preamble: Preamble
    segments: list[Segment]
    skill: str


@dataclass(frozen=True, slots=True)
class Group:
    """Conversations that share one preamble."""

    preamble_ids: list[int]
    samples: list[Sample]


@lru_cache(maxsize=4096)
def preamble_ids(scene: Scene) -> tuple[int, ...]:
    """The tokens of a scene's preamble."""
    return tuple(render_preamble(load_tokenizer(), scene_preamble(scene)))


def preamble_key(scene: Scene) -> tuple[str | bool | None, ...]:
    """A key that is the same for scenes with the same preamble."""
    return (scene.effort, scene.date, scene.files, scene.python, scene.browser, scene.developer_message)


def generate_group(seed: int, num_tokens: int) -> Group:
    """Generate conversations under one random preamble, about `num_tokens` tokens in total (without the preamble).

    The same seed gives the same group. Conversations longer than 1,500 tokens are left out.
    """
    draw = Draw(seed)
    scene = random_scene(draw)
    key, preamble = preamble_key(scene), scene_preamble(scene)
    samples: list[Sample] = []
    total = 0
    while total < num_tokens:
        chat = training_chat(scene, draw)
        segments = render_chat(chat)
        size = sum(len(ids) for ids, _ in segments)
        if size > MAX_TOKENS:
            continue
        total += size
        samples.append(Sample(key, preamble, segments, chat.skill))
    return Group(list(preamble_ids(scene)), samples)
