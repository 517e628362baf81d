"""Estimate what drafts gain, from the times of steps: `python benchmarks/draft_pace.py 1.9 2.7 3.4 5.0`. Needs no GPU.

The arguments are the times of steps of 1, 2, 4 and 8 tokens in milliseconds, as `benchmarks/triton_kernels.py` prints
them. The answers are those of `benchmarks/triton_turns.py`. Drafts are looked up as in kernels/draft.py, and the
engine's own `Pace` decides how many tokens each step runs and how many steps are in flight.
"""

from __future__ import annotations

import argparse
import random
from collections import deque

from triton_turns import ANSWER, given_answer

from gptoss_tui.engine.triton.steps import Pace

MATCH, LONGER = 3, 4
WAIT = 0.03
"""Milliseconds that the device waits for the host when one step is in flight. An assumption."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("times", type=float, nargs=4, metavar="MS")
    parser.add_argument("--answers", type=int, default=5)
    args = parser.parse_args()
    times = dict(zip((1, 2, 4, 8), args.times, strict=True))
    for share in (0.0, 0.4, 0.8, 1.0):
        spent = sum(simulated(share, times, seed) for seed in range(args.answers))
        print(
            f"{share:.0%} of the answer repeats the prompt: {args.answers * ANSWER * args.times[0] / spent:.2f} times"
        )


def simulated(share: float, times: dict[int, float], seed: int) -> float:
    """Return the milliseconds that an answer would take."""
    chance = random.Random(seed)
    prompt = [chance.randrange(150_000) for _ in range(1024)]
    answer = given_answer(prompt, share, chance)
    history, known, spent = [*prompt, answer[0]], 1, 0.0
    drafts, pace = drafted(history), Pace(8)
    flying: deque[int] = deque()
    while known < len(answer):
        while len(flying) < pace.ahead or not flying:
            flying.append(pace.tokens)
        ran = flying.popleft()
        spent += times[ran] + (WAIT if pace.ahead == 1 else 0.0)
        kept = 1
        for draft, token in zip(drafts[: ran - 1], answer[known : known + ran - 1], strict=False):
            if draft != token:
                break
            kept += 1
        kept = min(kept, len(answer) - known)
        history += answer[known : known + kept]
        known += kept
        drafts = drafted(history)
        pace.saw(ran, kept, 1 + len(drafts))
    return spent


def drafted(history: list[int]) -> list[int]:
    """Return up to seven tokens that followed the longest earlier match of the newest tokens; the latest of several."""
    newest = len(history) - 1
    best = (-1, 0)
    for end in range(MATCH - 1, newest):
        if history[end - MATCH + 1 : end + 1] == history[newest - MATCH + 1 :]:
            more = 0
            while (
                more < LONGER and end >= MATCH + more and history[end - MATCH - more] == history[newest - MATCH - more]
            ):
                more += 1
            best = max(best, (more, end + 1))
    return history[best[1] : best[1] + 7] if best[1] else []


if __name__ == "__main__":
    main()
