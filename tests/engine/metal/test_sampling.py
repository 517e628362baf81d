"""Draws on the device follow the distribution that the parameters make of the logits."""

from __future__ import annotations

import numpy as np
import pytest

from gptoss_tui.engine.constraint import TokenState
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.errors import EngineError
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, USED_SPECIAL_TOKENS

LOGITS = [float(value) for value in np.random.default_rng(3).normal(scale=0.8, size=40)]


def draws(logits: list[float], params: SamplingParams, count: int, state: TokenState | None = None) -> list[int]:
    """Ids drawn one after the other, each with the next key."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.sampling import Sampler

    sampler, values = Sampler(params, len(logits)), mx.array(logits)
    allowed = sampler.allowed(state)
    drawn = [sampler.draw(values, allowed, sampler.next_key()).id for _ in range(count)]
    found: list[int] = mx.concatenate(drawn).tolist()
    return found


def wanted(logits: list[float], params: SamplingParams, count: int) -> list[int]:
    """The same by the rules of `SamplingParams`, in order and with numpy: the largest of what is left, with noise."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.sampling import Sampler, gumbel

    scores = np.array(logits) + np.array([params.logit_bias.get(id, 0.0) for id in range(len(logits))])
    if params.temperature == 0.0:
        return [int(scores.argmax())] * count
    scores = (scores - scores.max()) / max(params.temperature, 1e-20)
    order = np.argsort(-scores)
    kept = order[: params.top_k] if params.top_k else order
    weights = np.exp(scores[kept])
    if params.top_p < 1.0:
        kept = kept[np.cumsum(weights) - weights < params.top_p * weights.sum()]
    kept = kept[np.exp(scores[kept]) >= params.min_p]
    sampler, ids = Sampler(params, len(logits)), mx.array(kept.astype(np.uint32))
    return [int(kept[(scores[kept] + np.array(gumbel(ids, sampler.next_key()))).argmax()]) for _ in range(count)]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0.0, logit_bias={3: 9.0}),
        SamplingParams(seed=1),
        SamplingParams(seed=2, temperature=0.5),
        SamplingParams(seed=3, top_k=6),
        SamplingParams(seed=4, top_p=0.6),
        SamplingParams(seed=5, min_p=0.3),
        SamplingParams(seed=6, temperature=2.0, top_k=9, top_p=0.9, min_p=0.1, logit_bias={0: 4.0}),
        SamplingParams(seed=7, temperature=1e-30),
    ],
)
def test_a_draw_is_the_largest_of_what_the_filters_leave(params: SamplingParams) -> None:
    """Draw by draw."""
    got = draws(LOGITS, params, 30)
    assert got == wanted(LOGITS, params, 30)
    assert len(set(got)) > 1 or params.temperature < 0.1


def test_noise_is_gumbel_s_far_into_its_tail() -> None:
    """Over a large vocabulary, near the largest values too: unlikely tokens get their share."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.sampling import gumbel

    ids = mx.arange(1 << 21, dtype=mx.uint32)
    noise = np.array(gumbel(ids, mx.array([123456789, 987654321], dtype=mx.uint32))).astype(np.float64)
    assert np.isfinite(noise).all()
    for level in (-1.5, 0.0, 2.0, 6.0, 10.0):
        expected = len(noise) * -np.expm1(-np.exp(-level))
        assert abs((noise > level).sum() - expected) < 6 * expected**0.5
    assert noise.max() > 12.0
    other = np.array(gumbel(ids, mx.array([123456790, 987654321], dtype=mx.uint32)))
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.01


def test_only_ids_with_a_meaning_are_drawn() -> None:
    """Rows above the text are not, but for the special tokens of conversations, nor those that a state forbids."""
    size = NUM_TEXT_TOKENS + 50
    unused = next(id for id in range(NUM_TEXT_TOKENS, size) if id not in USED_SPECIAL_TOKENS)
    logits = [0.0] * size
    logits[unused], logits[USED_SPECIAL_TOKENS[0]], logits[7] = 50.0, 40.0, 30.0
    greedy = SamplingParams(temperature=0.0)
    assert draws(logits, greedy, 1) == [USED_SPECIAL_TOKENS[0]]
    assert draws(logits, greedy, 1, TokenState({}, text=True)) == [7]
    assert draws(logits, greedy, 1, TokenState({USED_SPECIAL_TOKENS[0]: 0}, text=True)) == [USED_SPECIAL_TOKENS[0]]


def test_a_state_without_a_token_is_an_error() -> None:
    """A vocabulary may lack what a grammar asks for."""
    with pytest.raises(EngineError, match="no token"):
        draws([0.0] * 5, SamplingParams(), 1, TokenState({9: 0}))
