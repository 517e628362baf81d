"""A device that misreads prompts is refused before the first request, and `auto` goes on without it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gptoss_tui.engine import backends
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.metal import backend, device
from gptoss_tui.engine.types import Dtype, EngineSpec
from gptoss_tui.errors import WrongResultsError

if TYPE_CHECKING:
    import mlx.core as mx

    from gptoss_tui.engine.metal.model import Transformer

CONTEXT = 32


def load(directory: Path, dtype: Dtype = "float32") -> Transformer:
    """A model on MLX's kernels for CPUs."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.model import Transformer
    from gptoss_tui.engine.metal.weights import load_weights

    opened = open_checkpoint(directory)
    return Transformer(opened.config, load_weights(opened.raw, opened.config, getattr(mx, dtype)), CONTEXT)


def check(model: Transformer) -> None:
    """What is under test."""
    from gptoss_tui.engine.metal.prefill_check import check_prefill

    check_prefill(model, CONTEXT)


def break_linear(patch: pytest.MonkeyPatch, wrong: Callable[[mx.array], mx.array]) -> None:
    """Products of more than 8 rows are something else, as on some chips."""
    from gptoss_tui.engine.metal import model

    right = model.linear
    patch.setattr(model, "linear", lambda x, *given: (wrong if len(x) > 8 else lambda y: y)(right(x, *given)))


@pytest.mark.parametrize(("shape", "dtype"), [("small", "bfloat16"), ("uneven", "float32")])
def test_a_device_that_is_right_passes(shape: str, dtype: Dtype, checkpoint: Callable[[str], Path]) -> None:
    """In either dtype, at the first text."""
    check(load(checkpoint(shape), dtype))


@pytest.mark.parametrize(("row", "value"), [(9, 0.0), (9, float("nan")), (CONTEXT - 1, 0.0)])
def test_wrong_matrices_are_refused(
    row: int, value: float, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one row in all texts, the last one of a full chunk too: by name and version of what is wrong, with what to
    do."""
    import mlx.core as mx

    def wrong(product: mx.array) -> mx.array:
        return mx.where(mx.arange(len(product))[:, None] == row, value, product)

    break_linear(monkeypatch, wrong)
    with pytest.raises(WrongResultsError, match=rf"MLX {device.mlx_version()} reads prompts wrongly") as caught:
        check(load(checkpoint("small")))
    assert "pip install --upgrade mlx" in str(caught.value.hint)
    assert f"--backend {backends.cpu_backend()}" in str(caught.value.hint)


@pytest.mark.parametrize("rows", [20, 64, 128])
def test_wrong_experts_are_refused(
    rows: int, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a few tokens, of a short chunk, and of a full one, whose kernel a short one does not reach."""
    from gptoss_tui.engine.metal import model

    project = model.project

    def wrong(x: mx.array, experts: Any, chosen: mx.array, **named: Any) -> mx.array:
        product = project(x, experts, chosen, **named)
        return -product if chosen.size == rows else product

    monkeypatch.setattr(model, "project", wrong)
    with pytest.raises(WrongResultsError):
        check(load(checkpoint("small")))


def test_wrong_attention_is_refused(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of full layers, which the second one is."""
    from gptoss_tui.engine.metal.model import Transformer

    attend = Transformer._attend

    def wrong(self: Transformer, query: mx.array, seen: Any, index: int, mask: Any) -> mx.array:
        return attend(self, query, seen, index, None if mask == "causal" else mask)

    model = load(checkpoint("small"))
    assert not model.config.is_sliding(1)
    monkeypatch.setattr(Transformer, "_attend", wrong)
    with pytest.raises(WrongResultsError):
        check(model)


def test_near_ties_are_no_mistakes(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text may have a token of two equal experts, which come to one place or another; a mistake stays in one."""
    from gptoss_tui.engine.metal.model import Transformer

    hidden, calls = Transformer.hidden, count()

    def other_expert(self: Transformer, ids: mx.array, *given: Any) -> mx.array | None:
        states = hidden(self, ids, *given)
        assert states is not None
        states[next(calls) // 3] *= 1.5
        return states

    monkeypatch.setattr(Transformer, "hidden", other_expert)
    check(load(checkpoint("small")))
    assert next(calls) == 6, "two texts of three chunks"


def test_auto_goes_on_without_it(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asked for this engine gets the error; who did not gets another one, when the weights are gone."""
    import mlx.core as mx

    break_linear(monkeypatch, lambda product: -product)
    monkeypatch.setattr(backend, "on_gpu", lambda: True)
    monkeypatch.setattr(device, "is_usable", lambda: True)
    monkeypatch.setattr(device, "read_chip", lambda: None)

    def memory() -> int:
        gc.collect()
        return mx.get_active_memory()

    before, held, cpu_backend = memory(), list[int](), backends.cpu_backend
    spec = EngineSpec(checkpoint("uneven"), backend="metal", context=CONTEXT)
    with pytest.raises(WrongResultsError):
        backends.load_backend(spec, lambda step: None)
    monkeypatch.setattr(backends, "cpu_backend", lambda: held.append(memory()) or cpu_backend())
    loaded = backends.load_backend(replace(spec, backend="auto"), lambda step: None)
    assert loaded.info().backend == cpu_backend()
    assert "reads prompts wrongly" in capsys.readouterr().err
    assert held[-1] == before
    loaded.close()
