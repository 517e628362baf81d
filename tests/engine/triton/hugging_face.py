"""The Triton engine against Hugging Face's `GptOssForCausalLM`: `python -m tests.engine.triton.hugging_face`.

Both get the same random weights of gpt-oss-20b's shapes, theirs unpacked from MXFP4 by their own code. The judge is
their model in float32 arithmetic, whose weights are widened a layer at a time: ours may be off it by 1.5 times what
theirs is in bfloat16. A card of 80 GB holds it, one model after the other; `--layers` runs fewer.

`--tiny` is a small model in float32, for Triton's interpreter where there is no GPU: there both are the same but for
the order of sums. transformers 5 is needed, and nothing of the project needs it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint.random_weights import RandomCheckpoint
from gptoss_tui.engine.checkpoint.tensors import stored_tensors
from gptoss_tui.engine.config import GPT_OSS_20B, ModelConfig, write_config
from gptoss_tui.engine.constraint import TokenAutomaton, TokenState
from gptoss_tui.engine.generation import never
from gptoss_tui.engine.triton.backend import TritonBackend
from gptoss_tui.engine.triton.steps import Steps
from gptoss_tui.engine.triton.weights import ModelWeights, load_weights
from gptoss_tui.engine.types import PrefillProgress, SamplingParams, Token

THEIR_CHUNK = 512
"""Tokens that their model gets at once: at 8,192 keys, eager attention in float32 takes 1 GB a copy, and makes five."""

WORSE = 1.5
"""How much further from float32 than their bfloat16 a case may be."""

EXACT = 1e-4
"""Relative error of a case where both are in float32."""

TIE = 8.0
"""Where the best token is another one, it is behind the best by so many root mean squares of the error at most."""

MATCH = 3
"""Tokens that have to be the same for drafts to come."""

_STARTED = time.perf_counter()


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of what the cases run. `odd`, `answer`: a prompt and what was said, behind which `turn` tokens are new.

    `whole` goes at once and in chunks of `chunk`; `cut` is where another text goes on with `branch` tokens of its own;
    `steps` are decoded behind `long` tokens, and behind `copied` ones that hold the answer already. `compared`
    positions are looked at.
    """

    short: int = 5
    whole: int = 3000
    chunk: int = 200
    odd: int = 1001
    answer: int = 11
    turn: int = 250
    cut: int = 1500
    branch: int = 200
    long: int = 8192
    steps: int = 64
    copied: int = 600
    compared: int = 32


TINY = Lengths(
    short=3, whole=22, chunk=4, odd=7, answer=3, turn=6, cut=12, branch=4, long=30, steps=6, copied=16, compared=4
)


@dataclass(frozen=True, slots=True)
class Case:
    """What our engine says after the tokens of a text from `first` on.

    `got`: logits float32 [P, V], or where the device drew the answer the logprobs [P] of the tokens that follow.
    `fault`: why it did not try what it should.
    """

    name: str
    text: str
    first: int
    got: Tensor
    fault: str = ""

    @property
    def positions(self) -> range:
        """Of the tokens behind which it is compared."""
        return range(self.first, self.first + len(self.got))


@dataclass(frozen=True, slots=True)
class Difference:
    """Means over positions: the relative error of the logits, or the root mean square of a logprob's; divergence, nats.

    `others`: positions where the best token is another one, which is behind the best by `gap` at most, and by `ties`
    root mean squares of the error there.
    """

    error: float
    divergence: float = 0.0
    others: int = 0
    gap: float = 0.0
    ties: float = 0.0


def say(line: str) -> None:
    """What happens, and when."""
    print(f"{time.perf_counter() - _STARTED:6.1f} s  {line}", flush=True)


def random_texts(config: ModelConfig, n: Lengths) -> dict[str, list[int]]:
    """A text, one that leaves it at the cut, and one that goes on and ends with spans of its own beginning."""
    chance = random.Random(7)

    def ids(count: int) -> list[int]:
        return [chance.randrange(min(config.vocab_size, 100_000)) for _ in range(count)]

    text, source = ids(n.long + n.steps), ids(n.copied - MATCH)
    half, far = n.steps // 2, n.copied // 2
    answer = [*source[MATCH : MATCH + half], *source[far : far + n.steps - half]]
    return {"text": text, "branch": text[: n.cut] + ids(n.branch), "copies": [*source, *source[:MATCH], *answer]}


class Watched(TritonBackend):
    """Keeps the residual states of the prompts that it runs."""

    runs: tuple[Tensor, ...] = ()

    def _run(self, ids: list[int], cancelled: Callable[[], bool]) -> Tensor | None:
        states = super()._run(ids, cancelled)
        assert states is not None
        self.runs = (*self.runs, states)
        return states


class CountedSteps(Steps):
    """Counts the tokens of each step."""

    ran: tuple[int, ...] = ()

    def _step(self, keys: int, tokens: int, *, choose: bool) -> None:
        self.ran = (*self.ran, tokens)
        super()._step(keys, tokens, choose=choose)


class Ours:
    """The engine, asked as its worker asks it. What it is asked next goes on from what it knows."""

    def __init__(self, config: ModelConfig, weights: ModelWeights, context: int, chunk: int, *, drafts: bool) -> None:
        self.backend = Watched(config, weights, context, "random", chunk=chunk, drafts=drafts)
        self.backend._steps = self.steps = CountedSteps(self.backend._decoder, drafts=drafts)
        self.backend.warm_up()

    def ask(self, prompt: Sequence[int], answer: Sequence[int] = (), *, fresh: bool = False) -> tuple[int, Tensor]:
        """Run a prompt, and an answer that is given: what was cached, and the logprobs [T] of the answer."""
        if fresh:
            self.backend._cache.clear()
        self.backend.runs, self.steps.ran = (), ()
        params = SamplingParams(temperature=0.0, max_tokens=1)
        if answer:
            states = (*(TokenState({token: place + 1}) for place, token in enumerate(answer)), TokenState({}))
            params = replace(params, max_tokens=len(answer), constraint=TokenAutomaton(states))
        cached, tokens = 0, []
        for event in self.backend.generate(prompt, params, never):
            if isinstance(event, PrefillProgress):
                cached = event.cached
            elif isinstance(event, Token):
                tokens.append(event)
        assert [token.id for token in tokens[: len(answer)]] == list(answer)
        return cached, torch.tensor([token.logprob for token in tokens])

    @torch.inference_mode()
    def last(self, count: int) -> Tensor:
        """Logits [P, V] after the last tokens of the prompt, as many of them as were run."""
        return self.backend._logits(torch.cat(self.backend.runs)[-count:]).clone()

    @torch.inference_mode()
    def stepped(self, answer: Sequence[int]) -> Tensor:
        """Logits [T, V] before each token of an answer to the prompt that was asked, run one by one."""
        cache = self.backend._cache
        logits = [self.steps.first_logits(self.backend.runs[-1][-1]).clone()]
        for token in answer[:-1]:
            logits.append(self.steps.logits_of(Token(token, 0.0), cache.length).clone())
            cache.commit([token])
        return torch.stack(logits)


def cases_at_once(ours: Ours, texts: dict[str, list[int]], n: Lengths, window: int) -> Iterator[Case]:
    """Chunks as the engine takes them where there is memory enough, and steps of one token."""
    text, chunk = texts["text"], ours.backend._chunk

    def prompt(name: str, length: int) -> Case:
        got = ours.last(min(n.compared, length))
        return Case(name, "text", length - len(got), got)

    for length in (n.short, window - 1, window, window + 1, window + 2):
        ours.ask(text[:length], fresh=True)
        yield prompt(f"prompt of {length}, window of {window}", length)
    ours.ask(text[: n.whole], fresh=True)
    yield prompt(f"prompt of {n.whole}, chunk of {chunk}", n.whole)
    ours.ask(text[: n.odd], text[n.odd : n.odd + n.answer], fresh=True)
    cached, _ = ours.ask(text[: n.odd + n.answer + n.turn])
    follow_up = prompt(f"{n.turn} new tokens behind {cached} cached", n.odd + n.answer + n.turn)
    yield replace(follow_up, fault="" if cached >= n.odd else "less was cached than the prompt before")
    ours.ask(text[: n.long], fresh=True)
    yield prompt(f"prompt of {n.long}, chunk of {chunk}", n.long)
    yield Case(f"{n.steps} steps behind {n.long}", "text", n.long - 1, ours.stepped(text[n.long :]))
    _, logprobs = ours.ask(text[: n.long], text[n.long :])
    yield Case(f"the same, drawn on the device: {set(ours.steps.ran)}", "text", n.long - 1, logprobs)
    yield branched(ours, texts["branch"], n)
    yield drawn(ours, texts["copies"], n)


def cases_in_parts(ours: Ours, texts: dict[str, list[int]], n: Lengths) -> Iterator[Case]:
    """Small chunks, a ring that is short, and the kernels of steps that drafts may be part of."""
    ours.ask(texts["text"][: n.whole], fresh=True)
    yield Case(
        f"prompt of {n.whole}, chunks of {ours.backend._chunk}", "text", n.whole - n.compared, ours.last(n.compared)
    )
    yield branched(ours, texts["branch"], n)
    copied = drawn(ours, texts["copies"], n)
    yield replace(copied, fault="" if max(ours.steps.ran) > 1 else "no step had drafts")
    ours.ask(texts["copies"][: n.copied])
    yield Case(
        f"the same, step by step behind {n.copied}", "copies", n.copied - 1, ours.stepped(texts["copies"][n.copied :])
    )


def branched(ours: Ours, branch: list[int], n: Lengths) -> Case:
    """Back behind the window to where another text goes on: free as far as the ring reaches, else to a snapshot."""
    cache = ours.backend._cache
    before, reached = cache.length, cache.length - n.cut + ours.backend.config.sliding_window - 1 <= cache.ring
    cached, _ = ours.ask(branch)
    got = ours.last(min(n.compared, n.branch))
    fault = "" if (cached == n.cut if reached else 0 < cached < n.cut) else "it went back to another place"
    where = "in the ring" if reached else "to a snapshot"
    return Case(
        f"{before} tokens cut to {n.cut} {where}, {cached} held", "branch", len(branch) - len(got), got, fault=fault
    )


def drawn(ours: Ours, copies: list[int], n: Lengths) -> Case:
    """An answer that copies from its prompt."""
    _, logprobs = ours.ask(copies[: n.copied], copies[n.copied :], fresh=True)
    name = f"{n.steps} tokens that repeat the prompt, {len(ours.steps.ran) + 1} steps of {set(ours.steps.ran)}"
    return Case(name, "copies", n.copied - 1, logprobs)


def all_cases(
    config: ModelConfig, read: Callable[[str], Tensor], texts: dict[str, list[int]], n: Lengths, dtype: torch.dtype
) -> list[Case]:
    """What our engine says, without drafts and with them."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.inference_mode():
        weights = load_weights(read, config, dtype, device)
    say(f"our weights are loaded: {weights.nbytes / 1e9:.1f} GB")
    context = n.long + n.steps + 8
    ours = Ours(config, weights, context, n.long, drafts=False)
    say("warm; prompts at once, and steps of one token")
    cases = list(cases_at_once(ours, texts, n, config.sliding_window))
    ours.backend.close()
    ours = Ours(config, weights, context, n.chunk, drafts=True)
    say("warm; prompts in small chunks, and steps of several tokens")
    cases += cases_in_parts(ours, texts, n)
    ours.backend.close()
    say(f"{len(cases)} cases are run")
    return cases


class Theirs:
    """`GptOssForCausalLM` with eager attention and eager experts."""

    def __init__(self, config: ModelConfig, read: Callable[[str], Tensor], dtype: torch.dtype, device: str) -> None:
        from transformers import DynamicCache, GptOssConfig, GptOssForCausalLM

        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "config.json"
            write_config(config, path, "huggingface")
            values = json.loads(path.read_text())
        del values["quantization_config"]  # the experts are unpacked here, and no kernels are looked for
        self._new_cache = DynamicCache
        with torch.device(device):
            self.model: Any = GptOssForCausalLM._from_config(
                GptOssConfig.from_dict(values), dtype=dtype, attn_implementation="eager", experts_implementation="eager"
            ).eval()
        self._load(config, read)

    @torch.no_grad()
    def _load(self, config: ModelConfig, read: Callable[[str], Tensor]) -> None:
        """Every parameter, by its name in their layout."""
        from transformers.integrations.mxfp4 import convert_moe_packed_tensors

        targets = dict(self.model.named_parameters())
        blocks: Tensor | None = None
        for stored in stored_tensors(config, "huggingface"):
            tensor = read(stored.source) if stored.rows is None else read(stored.source)[slice(*stored.rows)]
            if stored.name.endswith("_blocks"):
                blocks = tensor
                continue
            if stored.name.endswith("_scales"):
                assert blocks is not None
                tensor = convert_moe_packed_tensors(blocks, tensor, dtype=self.model.dtype)
            target = targets.pop(stored.name.removesuffix("_scales"))
            assert target.shape == tensor.shape
            target.copy_(tensor)
        assert not targets

    @contextmanager
    def widened(self) -> Iterator[None]:
        """Float32 arithmetic on the same weights, of which a layer at a time is widened."""

        def widen(module: torch.nn.Module, given: object) -> None:
            module.float()

        def narrow(module: torch.nn.Module, given: object, result: object) -> None:
            module.to(self.model.dtype)

        def begin(module: torch.nn.Module, given: object, embedded: Tensor) -> Tensor:
            return embedded.float()

        inner = self.model.model
        with ExitStack() as hooks:
            hooks.callback(inner.embed_tokens.register_forward_hook(begin).remove)
            for module in (*inner.layers, inner.norm, self.model.lm_head):
                hooks.callback(module.register_forward_pre_hook(widen).remove)
                hooks.callback(module.register_forward_hook(narrow).remove)
            yield

    @torch.inference_mode()
    def logits(self, ids: Sequence[int], positions: Sequence[int], chunk: int) -> dict[int, Tensor]:
        """Logits float32 [V] after the tokens at `positions`."""
        cache = self._new_cache(config=self.model.config)
        found: dict[int, Tensor] = {}
        for start in range(0, max(positions) + 1, chunk):
            part = torch.tensor([ids[start : start + chunk]], device=self.model.device)
            states = self.model.model(input_ids=part, past_key_values=cache, use_cache=True).last_hidden_state[0]
            asked = [position for position in positions if start <= position < start + part.shape[1]]
            if asked:
                rows = self.model.lm_head(states[[position - start for position in asked]]).float()
                found.update(zip(asked, rows, strict=True))
        return found


def difference(got: Tensor, wanted: Tensor) -> Difference:
    """Of logits [P, V], or of logprobs [P]."""
    got, wanted = got.to(wanted).double(), wanted.double()
    if got.dim() == 1:
        return Difference(float((got - wanted).square().mean().sqrt()))
    off = (got - wanted).norm(dim=-1)
    logs = wanted.log_softmax(-1)
    divergence = (logs.exp() * (logs - got.log_softmax(-1))).sum(-1)
    best = got.argmax(-1, keepdim=True)
    gaps = wanted.amax(-1) - wanted.gather(-1, best)[:, 0]
    ties = gaps / (off / wanted.shape[-1] ** 0.5).clamp(min=1e-12)
    return Difference(
        error=float((off / wanted.norm(dim=-1)).mean()),
        divergence=float(divergence.mean()),
        others=int((gaps > 0).sum()),
        gap=float(gaps.max()),
        ties=float(ties.max()),
    )


def like(case: Case, logits: dict[int, Tensor], ids: Sequence[int]) -> Tensor:
    """What a case is compared with."""
    rows = torch.stack([logits[position] for position in case.positions])
    if case.got.dim() == 2:
        return rows
    following = torch.tensor([ids[position + 1] for position in case.positions], device=rows.device)
    return rows.log_softmax(-1).gather(-1, following[:, None])[:, 0]


@dataclass(frozen=True, slots=True)
class Row:
    """A case: ours and theirs in bfloat16 against float32, and ours against theirs. In float32 the first alone."""

    case: Case
    ours: Difference
    theirs: Difference | None = None
    between: Difference | None = None

    def bound(self, rows: Sequence[Row]) -> float:
        """What the error may be. Where theirs was lucky in this case, what it usually is in such cases counts."""
        if self.theirs is None:
            return EXACT
        usual = [row.theirs.error for row in rows if row.theirs and row.case.got.dim() == self.case.got.dim()]
        return WORSE * max(self.theirs.error, statistics.median(usual))

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether it is near enough; what is not a number is not."""
        return not self.case.fault and self.ours.error <= self.bound(rows) and self.ours.ties <= TIE


def compared(cases: Sequence[Case], theirs: Theirs, texts: dict[str, list[int]], chunk: int) -> list[Row]:
    """Their answers to all cases, and how far ours are from them."""
    exact: dict[str, dict[int, Tensor]] = {}
    rough: dict[str, dict[int, Tensor]] = {}
    for name, ids in texts.items():
        positions = sorted({place for case in cases if case.text == name for place in case.positions})
        if theirs.model.dtype == torch.float32:
            exact[name] = theirs.logits(ids, positions, chunk)
            continue
        rough[name] = theirs.logits(ids, positions, chunk)
        with theirs.widened():
            exact[name] = theirs.logits(ids, positions, chunk)
        say(f"theirs ran {max(positions) + 1} tokens of {name!r}")
    rows = []
    for case in cases:
        ids = texts[case.text]
        wanted = like(case, exact[case.text], ids)
        row = Row(case, difference(case.got, wanted))
        if rough:
            other = like(case, rough[case.text], ids)
            row = replace(row, theirs=difference(other, wanted), between=difference(case.got, other))
        rows.append(row)
    return rows


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line a case."""
    yield f"{'':<64} {'positions':>9}  {'relative error':>14} {'divergence':>10}  other best token"
    for row in rows:
        drawn = row.case.got.dim() == 1
        why = row.case.fault or f"at most {row.bound(rows):.1e}, ties {row.ours.ties:.1f} of {TIE:g}"
        verdict = "ok" if row.holds(rows) else f"FAILED: {why}"
        yield f"{row.case.name:<64} {len(row.case.got):>9}  {described(row.ours, drawn)}  {verdict}"
        for name, other in (("  theirs in bfloat16", row.theirs), ("  ours against theirs in bfloat16", row.between)):
            if other is not None:
                yield f"{name:<64} {'':>9}  {described(other, drawn)}"


def described(found: Difference, drawn: bool) -> str:
    """The columns of a difference."""
    if drawn:
        return f"{found.error:>9.2e} nats {'':>10}  {'':<24}"
    best = f"{found.others}, behind by {found.gap:.1e}" if found.others else "none"
    return f"{found.error:>14.2e} {found.divergence:>10.1e}  {best:<24}"


@contextmanager
def made_small() -> Iterator[tuple[ModelConfig, Lengths]]:
    """The tiny model, with few programs and snapshots in short distances."""
    from tests.engine.triton.conftest import FEW, SHAPES

    with (
        patch("gptoss_tui.engine.triton.decode.Blocks", lambda: FEW),
        patch("gptoss_tui.engine.kv_cache.SNAPSHOT_INTERVAL", 5),
    ):
        yield SHAPES["tiny"], TINY


def compare(config: ModelConfig, n: Lengths, dtype: torch.dtype, their_chunk: int) -> list[Row]:
    """All of it."""
    read = RandomCheckpoint("random", config).read
    texts = random_texts(config, n)
    say(f"{config.num_hidden_layers} layers in {dtype}; texts of {', '.join(str(len(ids)) for ids in texts.values())}")
    cases = all_cases(config, read, texts, n, dtype)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    theirs = Theirs(config, read, dtype, "cuda" if torch.cuda.is_available() else "cpu")
    say(f"their weights are loaded: {sum(each.nbytes for each in theirs.model.parameters()) / 1e9:.1f} GB")
    return compared(cases, theirs, texts, their_chunk)


def main() -> int:
    """Print the table; 1 when a case is too far off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, help="of gpt-oss-20b's 24")
    parser.add_argument("--tiny", action="store_true", help="a small model in float32")
    args = parser.parse_args()
    if args.tiny:
        with made_small() as (config, lengths):
            rows = compare(config, lengths, torch.float32, 5)
    else:
        config = replace(GPT_OSS_20B, num_hidden_layers=args.layers or GPT_OSS_20B.num_hidden_layers)
        rows = compare(config, Lengths(), torch.bfloat16, THEIR_CHUNK)
    for line in table(rows):
        print(line)
    if torch.cuda.is_available():
        say(f"at most {torch.cuda.max_memory_allocated() / 1e9:.1f} GB were allocated at once")
    return 0 if all(row.holds(rows) for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
