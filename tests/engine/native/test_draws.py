"""What is drawn follows the exact distribution: chi squared of many draws, whose numbers are the same in every run.

The limit is four standard deviations of what chance leaves. Each of these mistakes was made once, and is found: the
temperature left out, forbidden rows drawn, ids that share a row counted as one, coarse logits taken for whole ones, too
few rows read, numbers of rows that are not random enough or of another distribution, the same place in a row always,
and others drawn where all has to be read; filters that keep a little more.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gptoss_tui.engine.constraint import TokenState
from gptoss_tui.engine.native.backend import NativeBackend
from gptoss_tui.engine.native.kv_cache import KVCache
from gptoss_tui.engine.native.library import ISA_VARIABLE, Draw, available, load_library
from gptoss_tui.engine.native.model import Model
from gptoss_tui.engine.native.sampling import set_seed
from gptoss_tui.engine.types import SamplingParams
from tests.engine.native.conftest import NO_BIAS, SETS
from tests.engine.native.test_choose import TOKENS, load

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

DRAWS, PLACE = 3000, 1
MOST, EXPECTED = 4.0, 8.0

Shares = npt.NDArray[np.float64]


def sharp(directory: Path, threads: int = 1) -> NativeBackend:
    """A model of 5,003 words whose logits differ by so much that few of them need to be read."""
    backend = load(directory, threads)
    backend.model.weights.shared["norm"].view(np.float32)[:] *= 1.5
    return backend


@pytest.fixture(scope="module")
def backend(checkpoint: Callable[[str], Path]) -> Iterator[NativeBackend]:
    loaded = sharp(checkpoint("many-words"))
    yield loaded
    loaded.close()


def logits_of(backend: NativeBackend) -> Shares:
    """Of all words, as the whole unembedding gives them."""
    return backend.model.all_logits(PLACE).astype(np.float64)


def softmax(logits: Shares, temperature: float) -> Shares:
    weights = np.exp((logits - logits.max()) / temperature)
    return np.asarray(weights / weights.sum())


def drawn(
    backend: NativeBackend, params: SamplingParams, count: int, state: TokenState | None = None
) -> npt.NDArray[np.int64]:
    """The words that a generation with a seed would draw, were it always at this place."""
    generator, sampler = random.Random(), backend.model.sampler
    words = np.empty(count, dtype=np.int64)
    for number in range(count):
        set_seed(generator, params, number)
        words[number] = sampler.sample(backend.model.handle, PLACE, params, generator, state, NO_BIAS).id
    return words


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that the library drew, where in each the draw fell, and the share of the draws that read only a part."""

    rows: npt.NDArray[np.int64]
    within: Shares
    partly: float


def drawn_rows(model: Model, temperature: float, forbidden: Sequence[int] = (), count: int = DRAWS) -> Found:
    """By numbers that the caller chooses."""
    generator, hidden = random.Random(5), np.array(forbidden, dtype=np.int32)
    rows, within, partly = np.empty(count, dtype=np.int64), np.empty(count), 0
    model.logits(PLACE)
    total = model.log_total()
    for number in range(count):
        draw = Draw(
            temperature=temperature,
            uniform=generator.random(),
            forbidden=hidden.ctypes.data,
            forbidden_count=len(hidden),
        )
        assert load_library().gt_choose(model.handle, PLACE, ctypes.byref(draw)) == 0
        rows[number], within[number] = draw.row, draw.within
        partly += model.log_total() != total  # coarse logits stay behind then
    return Found(rows, within, partly / count)


def check(shares: Shares, words: npt.NDArray[np.int64]) -> None:
    """Counts of words in classes of at least `EXPECTED` draws, by Wilson and Hilferty's cube root of chi squared."""
    seen, expected = np.bincount(words, minlength=len(shares)), shares * len(words)
    assert not seen[shares == 0].any()
    classes: list[list[float]] = [[0.0, 0.0]]
    for word in np.argsort(-shares):
        if classes[-1][0] >= EXPECTED:
            classes.append([0.0, 0.0])
        classes[-1][0] += expected[word]
        classes[-1][1] += seen[word]
    last = classes.pop()
    classes[-1] = [classes[-1][0] + last[0], classes[-1][1] + last[1]]
    check_counts(np.array(classes)[:, 0], np.array(classes)[:, 1])


def check_counts(expected: Shares, seen: Shares) -> None:
    """Neither further from each other than chance leaves them, nor closer."""
    assert expected.sum() == pytest.approx(seen.sum())
    free = expected.size - 1
    assert free > 3
    chi_squared = float(((seen - expected) ** 2 / expected).sum())
    deviations = ((chi_squared / free) ** (1 / 3) - 1 + 2 / (9 * free)) / (2 / (9 * free)) ** 0.5
    assert abs(deviations) < MOST


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_a_draw_follows_the_whole_unembedding(backend: NativeBackend, temperature: float) -> None:
    """Though only a part of it is read."""
    shares = softmax(logits_of(backend), temperature)
    check(shares, drawn(backend, SamplingParams(temperature=temperature, seed=3), DRAWS))


@pytest.mark.parametrize("instruction_set", SETS)
def test_every_instruction_set_draws_the_same(
    backend: NativeBackend,
    checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    instruction_set: str,
) -> None:
    """But for words whose lead is as small as what rounding the prompt in another way changes."""
    params = SamplingParams(seed=8)
    monkeypatch.setenv(ISA_VARIABLE, instruction_set)
    other = sharp(checkpoint("many-words"))
    assert (drawn(other, params, 100) != drawn(backend, params, 100)).sum() < 10
    other.close()


def test_a_draw_says_nothing_of_the_next_one(backend: NativeBackend) -> None:
    """Pairs of neighbours, in some classes of about the same share each, as often as their shares say."""
    shares = softmax(logits_of(backend), 1.0)
    order = np.argsort(-shares)
    class_of = np.empty(len(shares), dtype=np.int64)
    class_of[order] = np.unique(np.minimum(np.cumsum(shares[order]) * 6, 5).astype(np.int64), return_inverse=True)[1]
    each = np.bincount(class_of, weights=shares)
    classes = class_of[drawn(backend, SamplingParams(seed=4), DRAWS)]
    pairs = np.bincount(classes[:-1] * len(each) + classes[1:], minlength=len(each) ** 2)
    check_counts((DRAWS - 1) * np.kron(each, each).astype(np.float64), pairs.astype(np.float64))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_what_is_forbidden_leaves_its_share_to_the_others(backend: NativeBackend, temperature: float) -> None:
    """The likeliest 64, as many as can be."""
    logits = logits_of(backend)
    forbidden = np.argsort(-logits)[:64]
    logits[forbidden] = -np.inf
    found = drawn_rows(backend.model, temperature, forbidden.tolist())
    check(softmax(logits, temperature), found.rows)
    assert 0.3 < found.partly < 1.0, "some draws of the same distribution have to read all"


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("forbidden", [0, 64])
def test_what_is_drawn_does_not_depend_on_how_much_is_read(
    backend: NativeBackend, temperature: float, forbidden: int
) -> None:
    """The same rows as from a model that trusts its coarse logits so little that it reads all of them."""
    model, rows = backend.model, np.argsort(-logits_of(backend))[:forbidden].tolist()
    doubt = model.weights.dense["doubt"].view(np.float32)
    before = doubt.copy()
    doubt *= 1e4
    careful = Model(
        model.config, model.weights, exact=False, wide=False, chunk=TOKENS, threads=1, instruction_set=SETS[-1]
    )
    doubt[:] = before
    cache = KVCache(model.config, TOKENS, TOKENS, wide=False)
    careful.run(cache, backend._cache.tokens)
    expected = drawn_rows(careful, temperature, rows, 500)
    found = drawn_rows(model, temperature, rows, 500)
    careful.close()
    assert expected.partly == 0.0
    assert (found.rows == expected.rows).all()
    assert (found.within == expected.within).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("allowed", [1500, 40], ids=["many", "few"])
def test_what_a_grammar_allows_keeps_its_shares(backend: NativeBackend, allowed: int, temperature: float) -> None:
    """Of words that are not among the likeliest, so that most first draws are of what it forbids."""
    logits = logits_of(backend)
    words = np.argsort(-logits)[100 :: len(logits) // allowed][:allowed]
    bits = np.zeros(len(logits), dtype=bool)
    bits[words] = True
    state = TokenState({}, text=True, mask=np.packbits(bits, bitorder="little").tobytes())
    logits[~bits] = -np.inf
    params = SamplingParams(temperature=temperature, seed=6)
    check(softmax(logits, temperature), drawn(backend, params, 1000, state))


def kept_by_filters(logits: Shares, params: SamplingParams) -> Shares:
    """Shares after top-k, then top-p of what that left, then min-p, as their definitions say it."""
    shares = softmax(logits, params.temperature)
    order = np.argsort(-shares).tolist()
    if params.top_k:
        order = order[: params.top_k]
    whole, mass, nucleus = sum(shares[word] for word in order), 0.0, []
    for word in order:
        if mass >= params.top_p * whole:
            break
        mass += shares[word]
        nucleus.append(word)
    left = [word for word in nucleus if shares[word] >= params.min_p * shares[nucleus[0]]]
    kept = np.zeros(len(shares))
    kept[left] = shares[left]
    return np.asarray(kept / kept.sum())


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0, top_k=40, seed=1),
        SamplingParams(temperature=2.0, top_k=300, seed=1),
        SamplingParams(temperature=1.0, top_p=0.9, seed=1),
        SamplingParams(temperature=2.0, top_p=0.5, seed=1),
        SamplingParams(temperature=1.0, min_p=0.05, seed=1),
        SamplingParams(temperature=2.0, min_p=0.05, seed=1),
        SamplingParams(temperature=2.0, top_k=100, top_p=0.7, min_p=0.1, seed=1),
    ],
    ids=lambda params: f"k{params.top_k}-p{params.top_p}-min{params.min_p}-t{params.temperature}",
)
def test_filters_keep_the_shares_of_what_they_leave(backend: NativeBackend, params: SamplingParams) -> None:
    check(kept_by_filters(logits_of(backend), params), drawn(backend, params, 700))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_ids_that_share_a_row_are_as_likely_as_if_they_had_their_own(
    backend: NativeBackend, temperature: float
) -> None:
    """Rows of five ids, and one of three that may not be sampled but have their part of all probability."""
    sampler, logits = backend.model.sampler, backend.model.logits(PLACE).astype(np.float64)
    many, unusable = np.argsort(-logits)[[0, 2, 300]], int(np.argsort(-logits)[1])
    counts, used = sampler.counts.copy(), sampler.used.copy()
    try:
        sampler.counts[many], sampler.used[many] = 5, 5
        sampler.counts[unusable], sampler.used[unusable] = 3, 0
        weights = sampler.used * np.exp((logits - logits.max()) / temperature)
        found = drawn_rows(backend.model, temperature)
        draw = Draw(temperature=temperature, uniform=0.5)
        load_library().gt_choose(backend.model.handle, PLACE, ctypes.byref(draw))
        assert draw.log_total == pytest.approx(np.log((sampler.counts * np.exp(logits)).sum()), abs=0.03)
    finally:
        sampler.counts[:], sampler.used[:] = counts, used
    check(weights / weights.sum(), found.rows)
    assert found.partly == 1.0
    places = np.bincount((found.within[found.rows == many[0]] * 5).astype(np.int64), minlength=5)
    check_counts(np.full(5, places.sum() / 5), places.astype(np.float64))
