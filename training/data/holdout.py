"""Held-out conversations: combinations of values, words or wordings that training never shows."""

from __future__ import annotations

from collections.abc import Callable

from training.data import preamble_ids
from training.data.browse import browse
from training.data.chat import Chat, Scene, Segment, render_chat
from training.data.compute import compute
from training.data.copying import copying
from training.data.create import create
from training.data.draw import Draw, Split
from training.data.edit import edit_read, edit_shown, replace_shown
from training.data.explore import explore
from training.data.followup import follow_up
from training.data.mix import one_turn
from training.data.rearrange import delete_or_move
from training.data.talk import beyond, talk

HeldOut = tuple[str, list[int], list[int]]
"""Skill, tokens of the prompt, tokens that the model should write up to and with a call or the end of the answer."""

_PLAIN = Scene()
_PYTHON = Scene(python=True)
_BROWSER = Scene(browser=True)
SKILLS: dict[str, tuple[Callable[[Chat], None], Scene]] = {
    "talk": (talk, _PLAIN),
    "python": (compute, _PYTHON),
    "create": (create, _PLAIN),
    "replace": (replace_shown, _PLAIN),
    "edit_shown": (edit_shown, _PLAIN),
    "edit_read": (edit_read, _PLAIN),
    "explore": (explore, _PLAIN),
    "delete_move": (delete_or_move, _PLAIN),
    "follow_up": (follow_up, _PLAIN),
    "browser": (browse, _BROWSER),
    "copy": (copying, _PLAIN),
    "beyond": (beyond, _PLAIN),
}
"""The skills that are measured, by the names of the evaluation's table."""


def held_out_chat(skill: str, number: int, seed: int, split: Split = "combinations") -> Chat:
    """The `number`-th held-out conversation of a skill. The same arguments give the same conversation."""
    generate, scene = SKILLS[skill]
    draw = Draw(f"held-out {skill} {split} {seed} {number}", split)
    return one_turn(scene, draw, generate, held=split == "combinations")


def holdout_prompts(n: int, seed: int, split: Split = "combinations") -> list[HeldOut]:
    """About `n` prompts, the same number of each skill.

    A conversation with several generations gives one prompt for each; those after the first are of the skill `name+`.
    """
    cases: list[HeldOut] = []
    number = 0
    while len(cases) < n:
        for skill, (_, scene) in SKILLS.items():
            chat = held_out_chat(skill, number, seed, split)
            cases += generations(skill, list(preamble_ids(scene)), render_chat(chat))
        number += 1
    return cases


def generations(skill: str, context: list[int], segments: list[Segment]) -> list[HeldOut]:
    """Each stretch that the model writes, with everything before it as the prompt."""
    found: list[HeldOut] = []
    written: list[int] = []
    for ids, learned in [*segments, ([], False)]:
        if learned:
            written = written + ids
            continue
        if written:
            found.append((skill if not found else f"{skill}+", list(context), written))
            context, written = context + written, []
        context = context + ids
    return found
