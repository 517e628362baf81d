"""`gptoss-tui score`: prints log-probabilities at every position of given tokens, for example to compare engines."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss_tui.commands.flags import add_model_flags, settings_from
from gptoss_tui.commands.token_file import check_token_ids, read_token_file

if TYPE_CHECKING:
    from gptoss_tui.engine.types import EngineSpec, ScoredPosition

_TOP = 5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "score",
        help="print the log-probabilities of given tokens",
        description="Print, for every position in FILE, the log-probability of the token that follows and the "
        f"{_TOP} likeliest tokens.",
        allow_abbrev=False,
    )
    parser.add_argument("--tokens", type=Path, metavar="FILE", required=True, help="JSON list of token ids")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_model_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the file and print the positions."""
    import asyncio

    token_ids = read_token_file(args.tokens)
    positions = asyncio.run(_score(settings_from(args).engine_spec(), token_ids, str(args.tokens)))
    if args.json:
        print(json.dumps({"positions": [_as_json(position) for position in positions]}, allow_nan=False))
    else:
        for line in _table(token_ids, positions):
            print(line)
    return 0


async def _score(spec: EngineSpec, token_ids: list[int], where: str) -> list[ScoredPosition]:
    from gptoss_tui.commands.loading import loaded_engine

    async with loaded_engine(spec) as (engine, info):
        check_token_ids(token_ids, info.vocab_size, where)
        return [position async for batch in engine.score(token_ids, _TOP) for position in batch]


def _as_json(position: ScoredPosition) -> dict[str, Any]:
    """The JSON form of a position. JSON has no infinity, so the log-probability of an impossible id is null."""
    return {
        "next": position.next,
        "logprob": _finite(position.logprob),
        "top": [[token_id, _finite(logprob)] for token_id, logprob in position.top],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _table(token_ids: Sequence[int], positions: Sequence[ScoredPosition]) -> Iterator[str]:
    yield f"{'position':>8} {'token':>7} {'next':>7} {'logprob':>10}  top"
    for index, (token_id, position) in enumerate(zip(token_ids, positions, strict=True)):
        following = "-" if position.next is None else str(position.next)
        logprob = "-" if position.logprob is None else f"{position.logprob:.4f}"
        top = "  ".join(f"{alternative} {value:.3f}" for alternative, value in position.top)
        yield f"{index:>8} {token_id:>7} {following:>7} {logprob:>10}  {top}"
