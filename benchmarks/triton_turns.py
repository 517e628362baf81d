"""Time the Triton engine on the work of an agent's turns: `python benchmarks/triton_turns.py`. Needs an NVIDIA GPU.

Weights are random, with gpt-oss-20b's shapes. The first line is the time to the first token for 200 new tokens after
8,192 cached ones. The others are decode rates, with and without drafts, of a given answer (an automaton allows one
token at each place), of which a share repeats spans of the prompt: so the gain from drafts depends on the text alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
from pathlib import Path

from gptoss_tui.engine.constraint import TokenAutomaton, TokenState
from gptoss_tui.engine.triton.backend import TritonBackend, load_backend
from gptoss_tui.engine.types import EngineSpec, Finished, SamplingParams, Usage

CACHED, NEW = 8192, 200
ANSWER, SPAN = 480, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random:gpt-oss-20b")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    for drafts in (False, True):
        spec = EngineSpec(Path(args.model), backend="triton", context=16384, drafts=drafts)
        backend = load_backend(spec, lambda progress: None)
        if not drafts:
            time_follow_up(backend, args.runs)
        for share in (0.0, 0.8, 1.0):
            time_answer(backend, share, args.runs, "with drafts" if drafts else "without")
        backend.close()


def usage_of(backend: TritonBackend, prompt: list[int], params: SamplingParams) -> Usage:
    """Return the usage of a generation."""
    *_, last = backend.generate(prompt, params, lambda: False)
    assert isinstance(last, Finished)
    return last.usage


def time_follow_up(backend: TritonBackend, runs: int) -> None:
    """Time a prompt whose beginning is cached."""
    chance = random.Random(1)
    start = [chance.randrange(150_000) for _ in range(CACHED)]
    one = SamplingParams(temperature=0.0, max_tokens=1)
    usage_of(backend, start, one)
    times = []
    for _ in range(runs):
        usage = usage_of(backend, start + [chance.randrange(150_000) for _ in range(NEW)], one)
        assert usage.prefilled_tokens <= NEW + 1
        times.append(usage.prefill_seconds + usage.decode_seconds)
    print(f"first token of {NEW} new tokens behind {CACHED}: {statistics.median(times) * 1e3:.1f} ms", flush=True)


def time_answer(backend: TritonBackend, share: float, runs: int, name: str) -> None:
    """Time a given answer, of which a share repeats spans of the prompt."""
    rates = []
    for run in range(runs + 1):  # the first one warms up
        chance = random.Random(run)
        prompt = [chance.randrange(150_000) for _ in range(1024)]
        answer = given_answer(prompt, share, chance)
        states = (*(TokenState({token: place + 1}) for place, token in enumerate(answer)), TokenState({}))
        params = SamplingParams(temperature=0.0, max_tokens=ANSWER, constraint=TokenAutomaton(states, 0))
        usage = usage_of(backend, prompt, params)
        assert usage.generated_tokens == ANSWER
        rates.append(usage.generated_tokens / usage.decode_seconds)
    print(f"decode, {share:.0%} of the answer repeats the prompt, {name}: {statistics.median(rates[1:]):.0f} tok/s")


def given_answer(prompt: list[int], share: float, chance: random.Random) -> list[int]:
    """Return ANSWER tokens: spans of the prompt, each followed by new tokens."""
    answer: list[int] = []
    while len(answer) < ANSWER:
        copied = round(SPAN * share)
        start = chance.randrange(len(prompt) - SPAN)
        answer += prompt[start : start + copied] + [chance.randrange(150_000) for _ in range(SPAN - copied)]
    return answer[:ANSWER]


if __name__ == "__main__":
    main()
