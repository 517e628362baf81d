"""Measure a model on held-out prompts through the real agent: `python -m training.evaluate`.

Every prompt runs in a workspace of its own with everything allowed. Right means: right tool, right
bytes in every file, right number or answer. The prompts come from `training.data.holdout`: combinations of values,
words or wordings that training never shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict

from gptoss_tui.agent.constraints import Constraints
from gptoss_tui.commands.loading import loaded_engine
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import Settings
from training.data.chat import Chat
from training.data.draw import Split
from training.data.holdout import held_out_chat
from training.data.trial import trial_chats
from training.grading import Outcome, run_chat

PROMPTS = {
    "talk": 70,
    "python": 60,
    "create": 85,
    "replace": 85,
    "edit_read": 40,
    "explore": 40,
    "delete_move": 20,
    "browser": 30,
    "beyond": 30,
    "follow_up": 30,
    "copy": 30,
}
"""How many prompts of each skill. The first four are the 300 of the bar."""

BARS = {"talk": 95, "python": 95, "create": 85, "replace": 75}
HARMONY_BAR = 99
SEED = 20_261_122


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, in percent."""
    if not count:
        return 0.0, 100.0
    z, p = 1.96, right / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def prompts(skills: Sequence[str], limit: int | None, split: Split, seed: int) -> list[tuple[str, Chat]]:
    """The conversations to run; `limit` bounds their number, in the proportions of `PROMPTS`."""
    total = sum(PROMPTS[s] for s in skills if s in PROMPTS)
    share = min(1.0, limit / total) if limit and total else 1.0
    chosen = [
        (skill, held_out_chat(skill, number, seed, split))
        for skill in skills
        if skill in PROMPTS
        for number in range(max(1, round(PROMPTS[skill] * share)))
    ]
    if "trial" in skills:
        chosen += [("trial", chat) for chat in trial_chats()[:limit]]
    return chosen


async def evaluate(
    model: str,
    chosen: Sequence[tuple[str, Chat]],
    *,
    quiet: bool = False,
    backend: str = "auto",
    temperature: float = 0.0,
    grounded: bool = False,
) -> list[Outcome]:
    """Run every conversation in turn on one engine. Above temperature 0 each has a seed of its own."""
    constraints = Constraints(grounded=grounded)
    tokenizer = load_tokenizer()
    outcomes: list[Outcome] = []
    async with loaded_engine(Settings(model=model, backend=backend).engine_spec()) as (engine, _):
        began = time.monotonic()
        for number, (skill, chat) in enumerate(chosen, 1):
            sampling = SamplingParams(temperature=temperature, seed=number)
            outcomes.append(await run_chat(engine, tokenizer, skill, chat, sampling=sampling, constraints=constraints))
            if not quiet and number % 20 == 0:
                right = sum(o.right for o in outcomes)
                print(f"{number}/{len(chosen)}: {right} right, {time.monotonic() - began:.0f} s", flush=True)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: skill, right of all, percent with its interval, bar."""
    rows = ["| skill | right | % | 95 % interval | bar |", "|---|---|---|---|---|"]
    valid = sum(o.harmony for o in outcomes)
    rows.append(_row("valid harmony", valid, len(outcomes), HARMONY_BAR))
    for skill in dict.fromkeys(o.skill for o in outcomes):
        of_skill = [o for o in outcomes if o.skill == skill]
        rows.append(_row(skill, sum(o.right for o in of_skill), len(of_skill), BARS.get(skill)))
    return "\n".join(rows)


def _row(name: str, right: int, count: int, bar: int | None) -> str:
    low, high = wilson(right, count)
    return f"| {name} | {right}/{count} | {100 * right / max(count, 1):.1f} | {low:.0f} to {high:.0f} | {bar or ''} |"


def failures(outcomes: Sequence[Outcome], most: int) -> str:
    """The first failing conversations of each skill, with what happened."""
    parts: list[str] = []
    for skill in dict.fromkeys(o.skill for o in outcomes):
        wrong = [o for o in outcomes if o.skill == skill and not (o.right and o.harmony)]
        for outcome in wrong[:most]:
            problems = "; ".join(outcome.problems) or "not harmony"
            parts.append(f"--- {skill}\nuser: {outcome.prompt}\n{outcome.transcript}\nwrong: {problems}")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="nano, a model's name or a checkpoint's directory")
    parser.add_argument("--limit", type=int, help="at most about so many prompts")
    parser.add_argument("--skill", action="append", choices=(*PROMPTS, "trial"), help="only these (repeatable)")
    parser.add_argument("--split", default="combinations", choices=("combinations", "words", "phrasings"))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--failures", type=int, default=5, help="failing examples to print for each skill")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--grounded", action="store_true", help="let patches only fit the files that they name")
    parser.add_argument("--json", metavar="OUT", help="write every outcome to this file")
    args = parser.parse_args()
    chosen = prompts(args.skill or tuple(PROMPTS), args.limit, args.split, args.seed)
    outcomes = asyncio.run(
        evaluate(args.model, chosen, backend=args.backend, temperature=args.temperature, grounded=args.grounded)
    )
    print(failures(outcomes, args.failures))
    print(table(outcomes))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump([asdict(o) for o in outcomes], file, indent=1)


if __name__ == "__main__":
    main()
