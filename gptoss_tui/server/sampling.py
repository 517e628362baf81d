"""Reads sampling settings from the fields that the APIs have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.server.errors import not_supported
from gptoss_tui.server.fields import Fields
from gptoss_tui.vocabulary import VOCAB_SIZE

MAX_TOKENS = 10 * VOCAB_SIZE
"""Limit for an answer's tokens. Larger than any context, because asking for more than fits is not an error."""

MAX_CHOICES = 16
MAX_STOPS = 16
MAX_BIASES = 10_000
MAX_SEED = 2**63
_SMALLEST_TOP_P = 1e-6
_PENALTIES = ("frequency_penalty", "presence_penalty")


@dataclass(frozen=True, slots=True)
class Defaults:
    """Defaults for requests. `repeated_tokens` is as in the settings; 0 lets a model repeat itself."""

    sampling: SamplingParams = field(default_factory=SamplingParams)
    repeated_tokens: int = 0


def read_sampling(fields: Fields, defaults: SamplingParams) -> SamplingParams:
    """Read temperature, top_p, top_k, min_p, seed and logit_bias. Raises ApiError."""
    for name in _PENALTIES:
        if fields.number(name, -2, 2):
            raise not_supported(f"'{name}' other than 0", fields.param(name))
    temperature = fields.number("temperature", 0, 2)
    top_p = fields.number("top_p", 0, 1)
    seed = fields.integer("seed", -MAX_SEED, MAX_SEED)
    min_p = fields.number("min_p", 0, 0.999)
    return replace(
        defaults,
        temperature=defaults.temperature if temperature is None else temperature,
        top_p=defaults.top_p if top_p is None else max(top_p, _SMALLEST_TOP_P),
        top_k=max(fields.integer("top_k", -1, VOCAB_SIZE) or defaults.top_k, 0),
        min_p=defaults.min_p if min_p is None else min_p,
        seed=defaults.seed if seed is None else seed,
        logit_bias=_logit_bias(fields),
    )


def with_logprobs(params: SamplingParams, wanted: int | None) -> SamplingParams:
    """Request `wanted` alternatives for each token; None for no logprobs.

    Engines are asked for at least one: without alternatives they may round logprobs or not report them.
    """
    return params if wanted is None else replace(params, top_logprobs=max(1, wanted))


def read_stops(fields: Fields) -> tuple[str, ...]:
    """Read `stop`: a text or a list of texts. Raises ApiError."""
    if isinstance(fields.values.get("stop"), str):
        stops: tuple[str, ...] = (fields.required_text("stop"),)
    else:
        stops = fields.texts("stop") or ()
    if len(stops) > MAX_STOPS:
        raise fields.wrong("stop", f"at most {MAX_STOPS} sequences")
    return tuple(stop for stop in stops if stop)


def _logit_bias(fields: Fields) -> Mapping[int, float]:
    biases = fields.child("logit_bias")
    if biases is None:
        return {}
    if len(biases.values) > MAX_BIASES:
        raise fields.wrong("logit_bias", f"at most {MAX_BIASES} tokens")
    found = {}
    for name in biases.values:
        bias = biases.number(name, -100, 100)
        if not name.isdecimal() or len(name) > 9 or int(name) >= VOCAB_SIZE:
            raise biases.wrong(name, "a token id of the model's vocabulary as its key")
        found[int(name)] = bias or 0.0
    return found
