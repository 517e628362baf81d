"""Measure what constraints cost in decoding: headers, a JSON schema, a patch that has to fit its file, or nothing.

    python benchmarks/harmony.py [--model nano] [--backend torch] [--runs 9] [--tokens 64] [--temperature 0]

Each case is a request of its own, and the cases take turns, so that other load on the machine affects all of them. Of
each case, the fastest tenth of its steps is compared, in CPU time of the engine and in wall-clock time; the time that
it takes once, before its first token, is printed too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

from gptoss_tui.agent.automaton import message_automaton
from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.backends import load_backend
from gptoss_tui.engine.catalog import resolve_model
from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, Walk
from gptoss_tui.engine.types import EngineSpec, SamplingParams, Token
from gptoss_tui.harmony.tokenizer import CHANNEL, END, MESSAGE, START, Tokenizer, load_tokenizer
from gptoss_tui.tools.declarations import WORKSPACE_FUNCTIONS

RECIPIENTS = [f"functions.{function.name}" for function in WORKSPACE_FUNCTIONS]
LINES = [f"    value_{number} = compute({number * 7919 % 1000}, mode={number % 13})" for number in range(2000)]
BEGINNING = "*** Begin Patch\n*** Update File: big.py\n@@\n+"
SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}, "minItems": 1000}},
    "required": ["items"],
}


def main() -> None:
    """Parse, load, run the cases in turn, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=64, help="of each run")
    parser.add_argument("--temperature", type=float, default=0.0)
    args = parser.parse_args()
    spec = EngineSpec(resolve_model(args.model), backend=args.backend, context=4096, threads=1)
    backend = load_backend(spec, lambda step: None)
    tokenizer = load_tokenizer()
    cases = dict(make_cases(tokenizer))
    steps: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    firsts: dict[str, float] = {}
    for _ in range(args.runs):
        for name, (prompt, constraint) in cases.items():
            params = SamplingParams(temperature=args.temperature, seed=1, max_tokens=args.tokens, constraint=constraint)
            first, times = run(backend, prompt, params)
            firsts.setdefault(name, first)
            steps[name] += times
    report(steps, firsts)


def make_cases(tokenizer: Tokenizer) -> Iterator[tuple[str, tuple[list[int], TokenAutomaton | None]]]:
    """Name, prompt and constraint of each case. All write text, as much of it as they are allowed to."""
    question = [START, *tokenizer.encode("user"), MESSAGE, *tokenizer.encode("Tell me a story. " * 40), END, START]
    answer = [CHANNEL, *tokenizer.encode("final"), MESSAGE, *tokenizer.encode("Once upon a time")]
    call = [*tokenizer.encode(f" to={RECIPIENTS[0]}"), CHANNEL, *tokenizer.encode("commentary"), MESSAGE]
    call += tokenizer.encode(BEGINNING)
    begin = [*question, *tokenizer.encode("assistant")]
    known = Grammar("patch", json.dumps({"paths": ["big.py"], "files": {"big.py": LINES}}))
    schema = Grammar("json_schema", json.dumps(SCHEMA))
    opened = [*answer[:3], *tokenizer.encode('{"items": ["')]
    yield "nothing", ([*begin, *answer], None)
    yield "headers", ([*begin, *answer], behind(tokenizer, answer))
    yield "a JSON schema", ([*begin, *opened], behind(tokenizer, opened, answer=schema))
    yield "a patch of 2,000 lines", ([*begin, *call], behind(tokenizer, call, arguments={RECIPIENTS[0]: known}))


def behind(tokenizer: Tokenizer, tokens: Sequence[int], **grammars: object) -> TokenAutomaton | None:
    """The constraint on what may follow `tokens` of the assistant."""
    walk = Walk(message_automaton(tokenizer, RECIPIENTS, **grammars))  # type: ignore[arg-type]
    for token in tokens:
        walk.advance(token)
    return walk.rest


def run(backend: Backend, prompt: list[int], params: SamplingParams) -> tuple[float, list[tuple[float, float]]]:
    """Return the seconds to the first token, and the CPU and wall-clock seconds of each step after it."""
    started = time.perf_counter()
    events = backend.generate(prompt, params, lambda: False)
    times = [(time.process_time(), time.perf_counter()) for event in events if isinstance(event, Token)]
    return times[0][1] - started, [(end[0] - at[0], end[1] - at[1]) for at, end in pairwise(times)]


def report(steps: dict[str, list[tuple[float, float]]], firsts: dict[str, float]) -> None:
    """Print a row for each case, with its cost relative to the first one."""
    print("| constraint | step, CPU | cost | step, clock | cost | first token |")
    print("|---|---|---|---|---|---|")
    base: list[float] = []
    for name, times in steps.items():
        shares = [fastest([each[kind] for each in times]) for kind in (0, 1)]
        base = base or shares
        cpu, clock = (
            f"{1e3 * got:.2f} ms | {100 * (got / of - 1):+.1f} %" for got, of in zip(shares, base, strict=True)
        )
        print(f"| {name} | {cpu} | {clock} | {firsts[name]:.2f} s |")


def fastest(times: list[float]) -> float:
    """Return the mean of the fastest tenth."""
    best = sorted(times)[: max(1, len(times) // 10)]
    return sum(best) / len(best)


if __name__ == "__main__":
    main()
