"""Hugging Face's `GptOssForCausalLM`, and how far an engine's logits are from it: for `hugging_face.py` beside this."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint.config_file import write_config
from gptoss_tui.engine.checkpoint.tensors import stored_tensors
from gptoss_tui.engine.config import ModelConfig

WORSE = 1.5
"""How much further from float32 than their bfloat16 ours may be."""

TIE = 8.0
"""Where the best token is another one, it is behind the best by so many root mean squares of the error at most."""


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


@dataclass(frozen=True, slots=True)
class Row:
    """A case: ours against their float32; theirs in bfloat16 against it, and against ours.

    Where ours is in float32 there is no `theirs`, and the error may be `exact`.
    """

    case: Case
    ours: Difference
    exact: float
    theirs: Difference | None = None
    between: Difference | None = None

    def bound(self, rows: Sequence[Row]) -> float:
        """What the error may be. Where theirs was lucky in this case, what it usually is in such cases counts."""
        if self.theirs is None:
            return self.exact
        usual = [row.theirs.error for row in rows if row.theirs and row.case.got.dim() == self.case.got.dim()]
        return WORSE * max(self.theirs.error, statistics.median(usual))

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether it is near enough; what is not a number is not."""
        return not self.case.fault and self.ours.error <= self.bound(rows) and self.ours.ties <= TIE


class Theirs:
    """`GptOssForCausalLM` in bfloat16, with eager attention and eager experts."""

    def __init__(self, config: ModelConfig, read: Callable[[str], Tensor], device: torch.device) -> None:
        from transformers import DynamicCache, GptOssConfig, GptOssForCausalLM

        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "config.json"
            write_config(config, path, "huggingface")
            values = json.loads(path.read_text())
        del values["quantization_config"]  # the experts are unpacked here, and no kernels are looked for
        self._new_cache = DynamicCache
        with device:
            self.model: Any = GptOssForCausalLM._from_config(
                GptOssConfig.from_dict(values),
                dtype=torch.bfloat16,
                attn_implementation="eager",
                experts_implementation="eager",
            ).eval()
        self._load(config, read)

    @torch.no_grad()
    def _load(self, config: ModelConfig, read: Callable[[str], Tensor]) -> None:
        """Every parameter, by its name in their layout; what MXFP4 says fits into bfloat16."""
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
                tensor = convert_moe_packed_tensors(blocks, tensor, dtype=torch.bfloat16)
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
            module.bfloat16()

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
        """Logits float32 [V] after the tokens at `positions`; so many tokens at once, with a cache of theirs."""
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


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line a case, and for ours in bfloat16 one of theirs, and one of the two."""
    yield f"{'':<64} {'positions':>9}  {'relative error':>14} {'divergence':>10}  other best token"
    for row in rows:
        drawn = row.case.got.dim() == 1
        why = row.case.fault or f"at most {row.bound(rows):.1e}, ties {row.ours.ties:.1f} of {TIE:g}"
        verdict = "ok" if row.holds(rows) else f"FAILED: {why}"
        yield f"{row.case.name:<64} {len(row.case.got):>9}  {_described(row.ours, drawn)}  {verdict}"
        for name, other in (("  theirs in bfloat16", row.theirs), ("  ours against that", row.between)):
            if other is not None:
                yield f"{name:<64} {'':>9}  {_described(other, drawn)}"


def _described(found: Difference, drawn: bool) -> str:
    """The columns of a difference."""
    if drawn:
        return f"{found.error:>9.2e} nats {'':>10}  {'':<24}"
    best = f"{found.others}, behind by {found.gap:.1e}" if found.others else "none"
    return f"{found.error:>14.2e} {found.divergence:>10.1e}  {best:<24}"
