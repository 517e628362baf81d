"""The weights in the layouts of the kernels: repacked on the first use of a checkpoint, later mapped from a cache."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.checkpoint import Checkpoint
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.native import cache_file
from gptoss_tui.engine.native.cache_file import Sections
from gptoss_tui.engine.native.layout import KINDS, dense_sizes, open_shared, padded, shared_sizes
from gptoss_tui.engine.native.library import BF16, BLOCK, GROUP, INT4, MXFP4, Layer, Matrix
from gptoss_tui.engine.native.packing import Packing, ReportFraction

SMALLEST_KEPT = 64 << 20
"""Bytes. Smaller checkpoints are not cached: repacking them takes no noticeable time."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a model. `rows` int32 [V] is the row of each id among the distinct rows of the unembedding.

    `coarse` is the unembedding in four bits, `doubt` the address of the norms of its rows' rounding errors; both only
    for int8. `cached`: everything was mapped from the cache. `not_kept`: why the weights could not be written to the
    cache, so that the next load has to repack them; else empty.
    """

    shared: Sections
    dense: Sections
    layers: ctypes.Array[Layer]
    unembedding: Matrix
    coarse: Matrix
    doubt: int | None
    rows: npt.NDArray[np.int32]
    cached: bool
    not_kept: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return self.shared.nbytes + self.dense.nbytes


def load_weights(checkpoint: Checkpoint, dense: str, threads: int, report: ReportFraction) -> Weights:
    """The weights of `checkpoint` with dense layers in `dense` ("exact" or "int8").

    They are mapped from the user's cache. If they are not there, they are repacked and written to it, or only kept in
    memory if the disk has no room. `report` is called with the progress of the repacking, from 0 to 1.
    """
    config = checkpoint.config
    folder, name = cache_file.source_folder(checkpoint), cache_file.identity(checkpoint)
    shared_path = dense_path = None
    if folder is not None and checkpoint.weight_bytes >= SMALLEST_KEPT:
        shared_path, dense_path = folder / f"shared-{name}.bin", folder / f"{dense}-{name}.bin"
        if (found := _open_files(config, shared_path, dense_path, dense)) is not None:
            return _assembled(config, *found, dense, cached=True)
    packing = Packing(checkpoint, name, threads, report)
    shared, dense_sections = packing.shared(shared_path), packing.dense(dense_path, dense)
    return replace(_assembled(config, shared, dense_sections, dense, cached=False), not_kept=packing.not_kept)


def prepared_bytes(config: ModelConfig, dense: str = "int8") -> int:
    """The most bytes that the files of a model can take. Raises EngineError if the library is missing."""
    sizes = shared_sizes(config) | dense_sizes(config, config.vocab_size, KINDS[dense])
    return sum(sizes.values())


def _open_files(config: ModelConfig, shared: Path, dense: Path, kind: str) -> tuple[Sections, Sections] | None:
    """Map both files of a model; None if either is missing or belongs to another model."""
    if (first := open_shared(config, shared)) is None:
        return None
    distinct = int(first["rows"].view(np.int32).max()) + 1
    second = cache_file.open_file(dense, dense_sizes(config, distinct, KINDS[kind]))
    return None if second is None else (first, second)


def _assembled(config: ModelConfig, shared: Sections, dense: Sections, kind: str, *, cached: bool) -> Weights:
    rows = shared["rows"].view(np.int32)
    distinct = int(rows.max()) + 1
    layers = (Layer * config.num_hidden_layers)()
    hidden, inner = config.hidden_size, config.intermediate_size

    def matrix(place: Sections, name: str, kind: int, shape: tuple[int, int], experts: int = 1) -> Matrix:
        bias = f"{name}_bias"
        return Matrix(
            kind,
            experts,
            padded(shape[0], GROUP),
            padded(shape[1], BLOCK),
            place.address(name),
            None if name in ("unembedding", "coarse") else shared.address(bias),
        )

    for index in range(config.num_hidden_layers):
        layers[index] = Layer(
            shared.address(f"{index}.attn_norm"),
            shared.address(f"{index}.sinks"),
            shared.address(f"{index}.mlp_norm"),
            matrix(dense, f"{index}.qkv", KINDS[kind], (config.qkv_width, hidden)),
            matrix(dense, f"{index}.out", KINDS[kind], (hidden, config.query_width)),
            matrix(shared, f"{index}.router", BF16, (config.num_experts, hidden)),
            matrix(shared, f"{index}.up", MXFP4, (2 * inner, hidden), config.num_experts),
            matrix(shared, f"{index}.down", MXFP4, (hidden, inner), config.num_experts),
        )
    unembedding = matrix(dense, "unembedding", KINDS[kind], (distinct, hidden))
    coarse, doubt = Matrix(), None
    if kind == "int8":
        coarse = matrix(dense, "coarse", INT4, (distinct, hidden))
        doubt = dense.address("doubt")
    return Weights(shared, dense, layers, unembedding, coarse, doubt, rows, cached)
