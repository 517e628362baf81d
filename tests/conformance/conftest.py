"""Random checkpoints in both layouts, and the two independent implementations as oracles."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from gptoss_tui.engine.checkpoint import random_checkpoint
from gptoss_tui.engine.config import Layout
from tests.conformance.shapes import LENGTHS, SHAPES

WHEEL = Path(__file__).parents[2] / ".venv" / "reference" / "gpt_oss-0.0.9-py3-none-any.whl"
FETCH_WHEEL = "pip download --no-deps --only-binary=:all: --python-version 3.12 -d .venv/reference gpt-oss==0.0.9"


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small lose more to the meeting of threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Layout], Path]:
    """Directory of the random checkpoint of a shape in a layout, written once. Both layouts hold the same weights."""
    root = tmp_path_factory.mktemp("checkpoints")

    def make(shape: str, layout: Layout) -> Path:
        directory = root / f"{shape}-{layout}"
        if not directory.exists():
            directory.mkdir()
            random_checkpoint(SHAPES[shape], directory, layout, seed=1)
        return directory

    return make


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> str:
    """Each shape in turn."""
    name: str = request.param
    return name


@pytest.fixture
def tokens(shape: str) -> list[int]:
    """Random ids, some windows long."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(SHAPES[shape].vocab_size, (LENGTHS[shape],), generator=generator).tolist()


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The published PyTorch model, `gpt_oss.torch.model`, imported from inside its wheel.

    The wheel asks for Python 3.12 and for packages that the model does not import, so it is not installed:
    `make test` downloads it, and a wheel of pure Python can be imported as the zip file that it is.
    """
    if not WHEEL.is_file():
        pytest.fail(f"{WHEEL} is missing; fetch it with: {FETCH_WHEEL}")
    sys.path.append(str(WHEEL))
    try:
        from gpt_oss.torch import model
    finally:
        sys.path.remove(str(WHEEL))
    return model
