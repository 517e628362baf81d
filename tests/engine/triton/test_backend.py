"""The Triton backend keeps the engine's contract, and what is its own: the device's choices and its self-test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.torch.backend import TorchBackend
from gptoss_tui.engine.triton import backend as module
from gptoss_tui.engine.triton import selftest
from gptoss_tui.engine.triton.backend import TritonBackend, load_backend
from gptoss_tui.engine.triton.decode import Decoder
from gptoss_tui.engine.triton.kernels.unembed import candidates_kernel
from gptoss_tui.engine.types import EngineSpec, LoadProgress, SamplingParams
from gptoss_tui.errors import EngineError, WrongResultsError
from tests.conformance.runs import float32_model
from tests.engine.contract import GREEDY, PROMPT, Contract, brackets_automaton, ids, run
from tests.engine.grammar.automata import number_in_brackets
from tests.engine.triton.conftest import DEVICE, FEW, SHALLOW, triton_weights

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

CONTEXT = 64


@pytest.fixture(scope="module")
def loaded(checkpoint: Callable[[str], Path]) -> Iterator[tuple[TritonBackend, TorchBackend]]:
    """Both backends with a small model, in float32."""
    patch = pytest.MonkeyPatch()
    patch.setattr("gptoss_tui.engine.triton.decode.Blocks", lambda: FEW)
    directory = checkpoint(SHALLOW)
    steps: list[LoadProgress] = []
    spec = EngineSpec(checkpoint=directory, backend="triton", dtype="float32", context=CONTEXT, drafts=False)
    backend = load_backend(spec, steps.append)
    assert steps[-1].done
    assert steps[-1].info == backend.info()
    yield backend, TorchBackend(float32_model(directory), CONTEXT, SHALLOW)
    backend.close()
    patch.undo()


@pytest.fixture
def backend(loaded: tuple[TritonBackend, TorchBackend]) -> TritonBackend:
    """The Triton backend, with nothing cached."""
    loaded[0]._cache.clear()
    return loaded[0]


@pytest.fixture
def reference(loaded: tuple[TritonBackend, TorchBackend]) -> TorchBackend:
    """The reference."""
    return loaded[1]


class TestTriton(Contract):
    """The contract, chosen on the device, one step ahead of the host, and on the host."""

    tolerance = 1e-4
    # The interpreter takes seconds for each.
    cuts: tuple[int, ...] = (3,)
    polls: tuple[int, ...] = (0, 2, len(PROMPT))

    @pytest.mark.parametrize(("extra", "grammar"), [({}, True), ({"top_p": 0.95}, False)])
    def test_an_answer_that_was_interrupted_goes_on(
        self, backend: Backend, extra: dict[str, object], grammar: bool
    ) -> None:
        """On the device, and on the host: what else is asked for takes one of these ways."""
        super().test_an_answer_that_was_interrupted_goes_on(backend, extra, grammar)


@torch.inference_mode()
def test_drawing_follows_the_distribution(backend: TritonBackend) -> None:
    """Frequencies of the first token against the softmax at temperature 0.7; a forbidden id never comes."""
    state, steps = backend._run(PROMPT, lambda: False)[-1], backend._steps
    logits = steps.first_logits(state).clone()
    forbidden = int(logits.argmax())
    params = SamplingParams(temperature=0.7, logit_bias={forbidden: -1e9})
    wanted = logits.clone()
    wanted[forbidden] = -torch.inf
    shares = (wanted / 0.7).softmax(0)
    draws = 200
    seen: Counter[int] = Counter()
    for seed in range(draws):
        steps._prepare(state, replace(params, seed=seed), backend._cache.length)
        backend._decoder.state.logits.copy_(logits)
        backend._decoder.choose()
        seen[int(backend._decoder.state.token)] += 1
    assert seen[forbidden] == 0
    # Pearson's statistic over the ids that are expected five times or more; its mean is their number.
    common = [id for id in range(len(shares)) if shares[id] * draws >= 5]
    statistic = sum((seen[id] - draws * float(shares[id])) ** 2 / (draws * float(shares[id])) for id in common)
    assert statistic < 2 * len(common) + 10


def test_the_noise_of_a_large_vocabulary_has_no_ties() -> None:
    """What wins among so many equals is exponential with their number, and not on float32's grid below 1."""
    size, draws = 1 << 16, 64
    flat, unread = torch.zeros(size, device=DEVICE), torch.zeros(1, dtype=torch.int64, device=DEVICE)
    best, place = torch.zeros(1, device=DEVICE), unread.clone()
    least = []
    for seed in range(draws):
        candidates_kernel[(1, 1)](
            flat, flat, torch.ones(1, device=DEVICE), unread + seed, unread, unread - 1,
            unread, unread, unread, best, place, best.clone(), best.clone(),
            V=size, FIRST_SPECIAL=size, BLOCK=size, PARTS=1, OVERLAP=False,
        )  # fmt: skip
        least.append(math.exp(-float(best[0])))
    assert abs(sum(least) * size / draws - 1) < 0.5  # four standard deviations
    beside_the_grid = [abs(value * 2**24 - round(value * 2**24)) > 0.1 for value in least]
    assert sum(beside_the_grid) > draws / 2


def test_what_the_device_chooses_alone(backend: TritonBackend) -> None:
    """It follows an automaton, and draws up to where a grammar begins; the host chooses the same by itself."""
    device = replace(GREEDY, constraint=brackets_automaton())
    host = replace(device, top_logprobs=1)
    assert backend._steps.can_draw(device)
    assert not backend._steps.can_draw(host)
    assert backend._steps.can_draw(replace(GREEDY, constraint=number_in_brackets()))
    tokens = ids(run(backend, PROMPT, device)[0])
    assert int(backend._decoder.state.at[0]) in (-1, 1)
    assert ids(run(backend, PROMPT, host)[0]) == tokens


def test_a_device_that_computes_wrong_is_refused(backend: TritonBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test notices an expert product that is off by a tenth."""
    from gptoss_tui.engine.triton import prefill

    run_experts = prefill.Prefill._experts
    monkeypatch.setattr(prefill.Prefill, "_experts", lambda self, layer, t: run_experts(self, layer, t) * 1.1)
    with pytest.raises(EngineError, match="prefill"):
        backend.check()


@torch.inference_mode()
def test_a_device_is_not_refused_for_being_certain(backend: TritonBackend) -> None:
    """The logprob of a token that leaves the others nothing is 0, in one way of rounding or another."""
    logits = backend._decoder.state.all_logits
    for ahead in (10.0, 12.0, 17.0, 40.0):
        logits.copy_(torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)))
        logits[:, 7] = logits.amax(1) + ahead
        selftest._check_choice(backend._decoder, 1)
        selftest._check_choice(backend._decoder, 2)
    logits[0, 9] = torch.nan
    with pytest.raises(EngineError):
        selftest._check_choice(backend._decoder, 1)
    backend._decoder.state.count.fill_(1)


@torch.inference_mode()
@pytest.mark.parametrize(("step", "field", "match"), [("choose", "tokens", "likeliest"), ("draft", "drafts", "drafts")])
def test_a_device_that_chooses_wrong_is_refused(
    backend: TritonBackend, monkeypatch: pytest.MonkeyPatch, step: str, field: str, match: str
) -> None:
    """One token more than there should be."""
    run_step = getattr(Decoder, step)

    def wrong(self: Decoder, *tokens: int) -> None:
        run_step(self, *tokens)
        getattr(self.state, field)[0] += 1

    monkeypatch.setattr(Decoder, step, wrong)
    with pytest.raises(WrongResultsError, match=match):
        selftest.check_device(backend._decoder, backend._prefill, most=2)


def test_drafts_are_given_up_where_they_would_change_an_answer(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that gets the last bits of a token in another way when it is among others."""
    if DEVICE.type == "cpu":  # on a card, only the blocks that users have are made to keep the last bits
        monkeypatch.setattr("gptoss_tui.engine.triton.decode.Blocks", lambda: FEW)
    for most in ("TOGETHER", "MAX_TOKENS"):
        monkeypatch.setattr(selftest, most, 2)
    config, weights = triton_weights(checkpoint(SHALLOW))
    backend = TritonBackend(config, weights, 64, "small", drafts=True)
    assert not backend.check()
    assert backend._steps.drafts
    logits = Decoder.logits

    def rounded(self: Decoder, tokens: int = 1) -> None:
        logits(self, tokens)
        if tokens == 2:
            self.state.all_logits[1] *= 1 + 2**-23

    monkeypatch.setattr(Decoder, "logits", rounded)
    assert backend.check()
    assert not backend._steps.drafts


def test_without_a_gpu_there_is_a_clear_error(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the backend that works everywhere."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="NVIDIA") as caught:
        load_backend(EngineSpec(checkpoint=checkpoint(SHALLOW), backend="triton"), lambda step: None)
    assert "--backend torch" in (caught.value.hint or "")
