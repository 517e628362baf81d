"""How much of each skill, preambles, and whole conversations of one or several turns."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from gptoss_tui.agent.prompt import build_preamble
from gptoss_tui.harmony.builtin import browser_namespace, python_namespace
from gptoss_tui.harmony.messages import EFFORTS, Preamble
from gptoss_tui.tools.declarations import WORKSPACE_FUNCTIONS
from training.data.browse import browse, browse_off
from training.data.chat import Chat, Scene
from training.data.compute import compute
from training.data.copying import copying
from training.data.create import create
from training.data.draw import Draw, is_held_combination
from training.data.edit import edit_read, edit_shown
from training.data.explore import explore
from training.data.followup import after_error, editing_off, follow_up
from training.data.rearrange import delete_or_move, rename_everywhere
from training.data.talk import beyond, talk

Skill = Callable[[Chat], None]


@dataclass(frozen=True, slots=True)
class Share:
    """A skill's weight where `when` holds for the scene."""

    skill: Skill
    weight: float
    when: Callable[[Scene], bool] = lambda scene: True


def _edits(scene: Scene) -> bool:
    return scene.files


SHARES: tuple[Share, ...] = (
    Share(talk, 11),
    Share(beyond, 5),
    Share(compute, 18, lambda s: s.python),
    Share(compute, 3, lambda s: not s.python),
    Share(browse, 24, lambda s: s.browser),
    Share(browse_off, 2, lambda s: not s.browser),
    Share(create, 24, _edits),
    Share(edit_shown, 16, _edits),
    Share(edit_read, 13, _edits),
    Share(delete_or_move, 4, _edits),
    Share(rename_everywhere, 1.5, _edits),
    Share(follow_up, 6, _edits),
    Share(after_error, 2, _edits),
    Share(editing_off, 20, lambda s: not s.files),
    Share(explore, 12),
    Share(copying, 9),
)

DEVELOPER_MESSAGES = (
    "Answer in short sentences.",
    "Always be polite.",
    "You help a beginner.",
    "This project uses Python 3.11.",
    "Use four spaces for indentation.",
    "Keep answers brief.",
    "The user is a developer.",
    "Be concise.",
    "Do not explain your steps.",
    "This is a web project.",
)
HISTORY_PERCENT = 20
HISTORY_LENGTHS = (1, 1, 1, 1, 1, 2, 2, 2, 3, 4)
MAX_TOKENS = 1_500


def random_scene(draw: Draw) -> Scene:
    """Effort, date, tools and now and then a message of the developer."""
    date = f"{draw.between(2025, 2028)}-{draw.between(1, 12):02d}-{draw.between(1, 28):02d}"
    u = draw.rng.random()
    python, browser = u > 0.55 and u < 0.85, u > 0.75
    return Scene(
        effort=draw.choice((*EFFORTS, "medium", "medium")),
        date=None if draw.chance(0.04) else date,
        files=not draw.chance(0.04),
        python=python,
        browser=browser,
        developer_message=draw.choice(DEVELOPER_MESSAGES) if draw.chance(0.08) else None,
    )


@lru_cache(maxsize=4096)
def scene_preamble(scene: Scene) -> Preamble:
    """What the product tells the model in this scene."""
    tools = (*((browser_namespace("web"),) if scene.browser else ()), *((python_namespace(),) if scene.python else ()))
    return build_preamble(
        effort=scene.effort,
        current_date=scene.date,
        functions=WORKSPACE_FUNCTIONS if scene.files else WORKSPACE_FUNCTIONS[1:],
        builtin_tools=tools,
        developer_message=scene.developer_message,
    )


@lru_cache(maxsize=16)
def _weights(scene: Scene) -> tuple[tuple[Skill, ...], tuple[float, ...]]:
    fitting = [s for s in SHARES if s.when(scene)]
    return tuple(s.skill for s in fitting), tuple(accumulate(s.weight for s in fitting))


def pick_skill(scene: Scene, draw: Draw) -> Skill:
    """A skill that the scene allows, by its share."""
    skills, totals = _weights(Scene(files=scene.files, python=scene.python, browser=scene.browser))
    return skills[min(bisect.bisect(totals, draw.rng.random() * totals[-1]), len(skills) - 1)]


def one_turn(scene: Scene, draw: Draw, skill: Skill, held: bool) -> Chat:
    """A conversation of one turn whose combination of values is held out, or is not."""
    for _ in range(400):
        chat = Chat(scene, draw)
        skill(chat)
        if is_held_combination(chat.skill, chat.key) == held:
            return chat
    raise RuntimeError(f"No sample of {skill.__name__} with held={held}")


def training_chat(scene: Scene, draw: Draw) -> Chat:
    """A conversation for training; some follow other turns."""
    chat = one_turn(scene, draw, pick_skill(scene, draw), held=False)
    if draw.rng.random() * 100 < HISTORY_PERCENT:
        for _ in range(draw.choice(HISTORY_LENGTHS)):
            before = one_turn(scene, draw, pick_skill(scene, draw), held=False)
            chat.steps[:0] = before.steps
    return chat
