"""How long two conversations that take turns have to wait: each continues with a few new tokens after the other.

    python benchmarks/conversations.py [--model nano] [--backend auto] [--tokens 6000] [--shared 2000]

Prints the times to the first token, with and without parking the waiting conversation. Prompts are random ids.
"""

from __future__ import annotations

import argparse
import random
import time

from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.backends import load_backend
from gptoss_tui.engine.types import Finished, SamplingParams, Token
from gptoss_tui.settings import load_settings
from gptoss_tui.units import format_bytes

NEW = 16
"""Tokens in a new message."""


def main() -> None:
    """Parse, load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tokens", type=int, default=6000, help="of each conversation")
    parser.add_argument("--shared", type=int, default=2000, help="of these at the beginning of both")
    parser.add_argument("--parked-gb", type=float, help="as the setting")
    args = parser.parse_args()
    flags = {name: getattr(args, name) for name in ("model", "backend", "threads", "parked_gb")}
    backend = load_backend(load_settings(flags).engine_spec(), lambda step: None)
    room = backend.info().parked_limit
    list(backend.generate([1, 2, 3], SamplingParams(max_tokens=1), lambda: False))
    for limit in (room, 0):
        backend.park_up_to(limit)
        print(f"conversations wait in up to {format_bytes(limit)}")
        take_turns(backend, args.tokens, args.shared)
    backend.close()


def take_turns(backend: Backend, tokens: int, shared: int) -> None:
    """Run three rounds."""
    ids = random.Random(7)
    most = backend.info().vocab_size - 100
    begin, names = [ids.randrange(most) for _ in range(shared)], ("first", "second")
    talks = [[*begin, *(ids.randrange(most) for _ in range(tokens - shared))] for _ in names]
    for turn in ("begins", "goes on", "goes on again"):
        for name, talk in zip(names, talks, strict=True):
            seconds, answer, done = first_token(backend, talk, shared)
            usage, info = done.usage, backend.info()
            print(
                f"  the {name} {turn}: {seconds * 1000:.1f} ms, {usage.prefilled_tokens} tokens read of "
                f"{usage.prompt_tokens}, {info.parked} wait in {format_bytes(info.parked_bytes)}"
            )
            talk += [*answer, *(ids.randrange(most) for _ in range(NEW))]


def first_token(backend: Backend, prompt: list[int], shared: int) -> tuple[float, list[int], Finished]:
    """Return the seconds to the first token, the answer, and its usage."""
    params = SamplingParams(temperature=0.0, max_tokens=8, keep_prefix=shared)
    started, first, answer = time.perf_counter(), 0.0, list[int]()
    for event in backend.generate(prompt, params, lambda: False):
        if isinstance(event, Token):
            first = first or time.perf_counter() - started
            answer.append(event.id)
        elif isinstance(event, Finished):
            return first, answer, event
    raise AssertionError("a generation ends with what it cost")


if __name__ == "__main__":
    main()
