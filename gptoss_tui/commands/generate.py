"""`gptoss-tui generate`: continues a text or token ids as they are, without messages, roles or tools."""

from __future__ import annotations

import argparse
import codecs
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss_tui.commands.flags import add_model_flags, add_sampling_flags, settings_from
from gptoss_tui.commands.stdin import read_stdin
from gptoss_tui.commands.token_file import check_token_ids, read_token_file
from gptoss_tui.errors import UsageError
from gptoss_tui.sanitize import to_terminal_text

if TYPE_CHECKING:
    from gptoss_tui.engine.types import EngineSpec, Finished, SamplingParams, Token
    from gptoss_tui.harmony.tokenizer import Tokenizer

_JSON_ALTERNATIVES = 5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "generate",
        help="continue a text as it is, without a chat",
        description="Continue PROMPT, stdin or a file of token ids, and stream the text. Statistics go to stderr.",
        allow_abbrev=False,
    )
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the text to continue (default: stdin)")
    parser.add_argument("--prompt", dest="prompt_flag", metavar="TEXT", help="the same, as a flag")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="continue a JSON list of token ids instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object per token: id, text, logprob, top")
    parser.add_argument(
        "--top-logprobs",
        type=int,
        metavar="N",
        help=f"alternatives per token with --json, 0 to 20 (default: {_JSON_ALTERNATIVES})",
    )
    add_model_flags(parser)
    add_sampling_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Stream the continuation."""
    import asyncio

    from gptoss_tui.harmony.tokenizer import STOP_TOKENS, load_tokenizer

    settings = settings_from(args)
    top = _JSON_ALTERNATIVES if args.top_logprobs is None else args.top_logprobs
    params = dataclasses.replace(settings.sampling(), stop_token_ids=STOP_TOKENS, top_logprobs=top if args.json else 0)
    spec = settings.engine_spec()
    tokenizer = load_tokenizer()
    token_ids = read_token_file(args.tokens) if args.tokens else tokenizer.encode(_prompt(args))
    printer = Printer(tokenizer, as_json=args.json)
    try:
        finished = asyncio.run(_generate(spec, token_ids, params, printer, str(args.tokens or "prompt")))
    finally:
        printer.end_text()
    print(_cost(finished), file=sys.stderr)
    return 0


def _prompt(args: argparse.Namespace) -> str:
    given = [text for text in (args.prompt, args.prompt_flag) if text is not None]
    if len(given) > 1:
        raise UsageError("The prompt is given twice", hint="leave out PROMPT or --prompt")
    text: str = given[0] if given else "" if sys.stdin.isatty() else read_stdin()
    if not text:
        raise UsageError("There is no prompt", hint="give PROMPT, --tokens FILE or text on stdin")
    return text


async def _generate(
    spec: EngineSpec, token_ids: list[int], params: SamplingParams, printer: Printer, where: str
) -> Finished:
    from gptoss_tui.commands.loading import loaded_engine
    from gptoss_tui.engine.types import Finished, TokenBatch

    async with loaded_engine(spec) as (engine, info):
        check_token_ids(token_ids, info.vocab_size, where)
        async for event in engine.generate(token_ids, params):
            if isinstance(event, TokenBatch):
                printer.tokens(event.tokens)
            elif isinstance(event, Finished):
                return event
    raise AssertionError("a generation ends with Finished")


class Printer:
    """Prints tokens to stdout, as text or as JSON lines.

    A character that is spread over several tokens is printed with the token that completes it.
    """

    def __init__(self, tokenizer: Tokenizer, *, as_json: bool) -> None:
        self._tokenizer = tokenizer
        self._as_json = as_json
        self._begun = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def tokens(self, tokens: tuple[Token, ...]) -> None:
        """Print a batch of tokens."""
        self._begun = True
        for token in tokens:
            text = self._text(token.id)
            if self._as_json:
                print(json.dumps(_as_json(token, text), allow_nan=False))
            else:
                self._write(text)
        sys.stdout.flush()

    def end_text(self) -> None:
        """Print what is left of an incomplete character, and end the line if anything was printed."""
        if self._begun and not self._as_json:
            self._write(self._decoder.decode(b"", final=True) + "\n")
            sys.stdout.flush()

    def _text(self, token_id: int) -> str:
        piece = self._tokenizer.token_bytes(token_id)
        if piece:
            return self._decoder.decode(piece)
        return self._decoder.decode(b"", final=True) + self._tokenizer.decode([token_id])

    def _write(self, text: str) -> None:
        sys.stdout.write(to_terminal_text(text) if sys.stdout.isatty() else text)


def _as_json(token: Token, text: str) -> dict[str, Any]:
    """The JSON form of a token. JSON has no NaN, so a log-probability that a server does not report is null."""
    logprob = None if math.isnan(token.logprob) else token.logprob
    return {"id": token.id, "text": text, "logprob": logprob, "top": [list(pair) for pair in token.top]}


def _cost(finished: Finished) -> str:
    usage = finished.usage
    return (
        f"{finished.reason}: prompt {usage.prompt_tokens} tokens ({usage.cached_tokens} cached), "
        f"prefill {_rate(usage.prefilled_tokens, usage.prefill_seconds)}, "
        f"generated {usage.generated_tokens} tokens, decode {_rate(usage.generated_tokens, usage.decode_seconds)}"
    )


def _rate(tokens: int, seconds: float) -> str:
    return f"{seconds:.2f} s ({tokens / seconds:.1f} tokens/s)" if seconds > 0 else f"{seconds:.2f} s"
