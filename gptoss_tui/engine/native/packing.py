"""Repacks a checkpoint into the layouts of the kernels, on several threads."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.checkpoint import Checkpoint
from gptoss_tui.engine.native import cache_file
from gptoss_tui.engine.native.cache_file import Sections, Write
from gptoss_tui.engine.native.layout import KINDS, dense_sizes, open_shared, packed_bytes, padded, shared_sizes
from gptoss_tui.engine.native.library import BF16, BLOCK, GROUP, INT4, INT8, MXFP4, load_library
from gptoss_tui.errors import CheckpointError

if TYPE_CHECKING:
    from gptoss_tui.engine.checkpoint.reader import Raw

ReportFraction = Callable[[float], None]
Words = npt.NDArray[np.uint16]
Numbers = npt.NDArray[np.float32]

_ROWS_AT_ONCE = 1024
_NO_NUMBER = 0x7F80
"""Exponent bits of infinities and NaNs in bfloat16."""
_NO_SCALE = 255
"""The code for NaN among MXFP4's scales."""


class Packing:
    """Repacks one checkpoint. `identity` is its digest from before, which tells whether it has changed since.

    `not_kept`: why the weights could not be written to the cache; empty if they were.
    """

    def __init__(self, checkpoint: Checkpoint, identity: str, threads: int, report: ReportFraction) -> None:
        self._checkpoint, self._config = checkpoint, checkpoint.config
        self._threads, self._report = threads, report
        self._done = 0
        self._identity = identity
        self.not_kept = ""
        self._rows = _distinct(self._words("unembedding.weight"))

    def shared(self, path: Path | None) -> Sections:
        """Everything but the dense matrices, from the cache or repacked."""
        config = self._config
        if path is not None and (found := open_shared(config, path)) is not None:
            return found

        def fill(writer: Callable[[str], Write]) -> None:
            for name, values in self._vectors():
                writer(name)(0, values.view(np.uint8).reshape(-1))
            self._copy(writer("embedding"), "embedding.weight")
            for layer in range(config.num_hidden_layers):
                prefix = f"block.{layer}.mlp"
                self._dense(writer(f"{layer}.router"), f"{prefix}.gate.weight", BF16)
                self._experts(writer(f"{layer}.up"), f"{prefix}.mlp1_weight", paired=True)
                self._experts(writer(f"{layer}.down"), f"{prefix}.mlp2_weight", paired=False)

        return self._made(path, shared_sizes(config), fill)

    def dense(self, path: Path | None, dense: str) -> Sections:
        """The dense matrices in kind `dense`, from the cache or repacked."""
        kind, config, firsts = KINDS[dense], self._config, _firsts(self._rows)
        sizes = dense_sizes(config, len(firsts), kind)
        if path is not None and (found := cache_file.open_file(path, sizes)) is not None:
            return found

        def fill(writer: Callable[[str], Write]) -> None:
            self._unembedding(writer, kind, firsts)
            for layer in range(config.num_hidden_layers):
                self._dense(writer(f"{layer}.qkv"), f"block.{layer}.attn.qkv.weight", kind)
                self._dense(writer(f"{layer}.out"), f"block.{layer}.attn.out.weight", kind)

        return self._made(path, sizes, fill)

    def _made(
        self, path: Path | None, sizes: Mapping[str, int], fill: Callable[[Callable[[str], Write]], None]
    ) -> Sections:
        """Sections written by `fill`: the mapped file `path` or, if it cannot be written, the process's memory."""
        if path is not None:
            try:
                cache_file.note_source(path.parent, self._checkpoint)
                with cache_file.new_file(path, sizes) as writer:
                    fill(writer)
                    self._check_unchanged()
                cache_file.remove_older(path)
                if (made := cache_file.open_file(path, sizes)) is not None:
                    return made
            except OSError as error:
                self.not_kept = str(error)  # no room, or a read-only folder: the model runs all the same
        sections = cache_file.own_memory(sizes)
        fill(sections.writer)
        return sections

    def _vectors(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        config = self._config
        yield "rows", self._rows
        yield "norm", self._floats("norm.scale")
        for layer in range(config.num_hidden_layers):
            attn, mlp = f"block.{layer}.attn", f"block.{layer}.mlp"
            yield f"{layer}.attn_norm", self._floats(f"{attn}.norm.scale")
            yield f"{layer}.sinks", self._floats(f"{attn}.sinks")
            yield f"{layer}.mlp_norm", self._floats(f"{mlp}.norm.scale")
            yield f"{layer}.qkv_bias", _pad(self._floats(f"{attn}.qkv.bias"))
            yield f"{layer}.out_bias", _pad(self._floats(f"{attn}.out.bias"))
            yield f"{layer}.router_bias", _pad(self._floats(f"{mlp}.gate.bias"))
            pairs = self._floats(f"{mlp}.mlp1_bias").reshape(config.num_experts, -1, GROUP, 2)
            yield f"{layer}.up_bias", np.ascontiguousarray(pairs.swapaxes(2, 3))
            yield f"{layer}.down_bias", _pad(self._floats(f"{mlp}.mlp2_bias"))

    def _check_unchanged(self) -> None:
        """Raise CheckpointError if the files have changed since the start: parts of both versions were read."""
        if cache_file.identity(self._checkpoint) != self._identity:
            raise CheckpointError(
                f"{self._checkpoint.directory} changed while it was read; nothing was kept",
                hint="load it again when nothing writes to it",
            )

    def _experts(self, write: Write, name: str, *, paired: bool) -> None:
        blocks, scales = self._octets(f"{name}.blocks"), self._octets(f"{name}.scales")
        experts, rows, count = scales.shape
        nbytes = packed_bytes(MXFP4, rows, count * BLOCK)

        def pack(expert: int) -> None:
            if (scales[expert] == _NO_SCALE).any():
                raise self._damaged(f"{name}.scales")
            out = np.empty(nbytes, dtype=np.uint8)
            load_library().gt_pack_mxfp4(
                blocks[expert].ctypes.data, scales[expert].ctypes.data, rows, count * BLOCK, paired, out.ctypes.data
            )
            write(expert * nbytes, out)

        self._on_threads(pack, range(experts), blocks.nbytes + scales.nbytes)

    def _dense(self, write: Write, name: str, kind: int) -> None:
        words = self._words(name)

        def pack(first: int) -> None:
            part = self._numbers(name, words[first : first + _ROWS_AT_ONCE])
            write(packed_bytes(kind, first, words.shape[1]), _packed(part, kind))

        self._on_threads(pack, range(0, len(words), _ROWS_AT_ONCE), words.nbytes)

    def _unembedding(self, writer: Callable[[str], Write], kind: int, firsts: npt.NDArray[np.int64]) -> None:
        """Pack the rows `firsts` of the unembedding and, in 8 bits, their coarse copy."""
        name = "unembedding.weight"
        words = self._words(name)
        write = {
            part: writer(part) for part in (("unembedding", "coarse", "doubt") if kind == INT8 else ("unembedding",))
        }
        columns = words.shape[1]

        def pack(first: int) -> None:
            part = self._numbers(name, words[firsts[first : first + _ROWS_AT_ONCE]])
            out = _packed(part, kind)
            write["unembedding"](packed_bytes(kind, first, columns), out)
            if kind == INT8:
                coarse = np.empty(packed_bytes(INT4, len(part), columns), dtype=np.uint8)
                doubt = np.empty(padded(len(part), GROUP), dtype=np.float32)
                load_library().gt_pack_coarse(
                    out.ctypes.data, len(part), columns, coarse.ctypes.data, doubt.ctypes.data
                )
                write["coarse"](packed_bytes(INT4, first, columns), coarse)
                write["doubt"](4 * first, doubt.view(np.uint8))

        self._on_threads(pack, range(0, len(firsts), _ROWS_AT_ONCE), words.nbytes)

    def _copy(self, write: Write, name: str) -> None:
        words = self._words(name)

        def copy(first: int) -> None:
            part = self._numbers(name, words[first : first + _ROWS_AT_ONCE])
            write(first * words.shape[1] * 2, part.view(np.uint8).reshape(-1))

        self._on_threads(copy, range(0, len(words), _ROWS_AT_ONCE), words.nbytes)

    def _on_threads(self, work: Callable[[int], None], items: range, nbytes: int) -> None:
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(work, items):
                pass
        self._done += nbytes
        self._report(min(1.0, self._done / self._checkpoint.weight_bytes))

    def _words(self, name: str) -> Words:
        return np.require(_fetched(self._checkpoint.raw(name)), np.uint16, ("C", "A"))

    def _octets(self, name: str) -> npt.NDArray[np.uint8]:
        """Read the bytes of a tensor: blocks as [E, rows, bytes], scales in their own shape."""
        return np.require(_fetched(self._checkpoint.raw(name)), np.uint8, "C")

    def _floats(self, name: str) -> Numbers:
        return (self._numbers(name, self._words(name)).astype(np.uint32) << 16).view(np.float32)

    def _numbers(self, name: str, words: Words) -> Words:
        """Return `words`, a part of tensor `name`. Raises CheckpointError if one is infinite or NaN."""
        if ((words & _NO_NUMBER) == _NO_NUMBER).any():
            raise self._damaged(name)
        return words

    def _damaged(self, name: str) -> CheckpointError:
        return CheckpointError(
            f"{name} in {self._checkpoint.directory} holds values that are not numbers; nothing was loaded",
            hint="the checkpoint is damaged: download or create it again",
        )


def _packed(words: Words, kind: int) -> npt.NDArray[np.uint8]:
    """Pack rows of bfloat16 as a dense matrix of `kind`."""
    pack = load_library().gt_pack_int8 if kind == INT8 else load_library().gt_pack_bf16
    out = np.empty(packed_bytes(kind, *words.shape), dtype=np.uint8)
    pack(words.ctypes.data, *words.shape, out.ctypes.data)
    return out


def _fetched(raw: Raw) -> Raw:
    """Return `raw`; if it is mapped, tell the system to read the whole file ahead, since page faults fetch little."""
    memory: object = raw.base
    if isinstance(memory, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):
        memory.madvise(mmap.MADV_WILLNEED)
    return raw


def _pad(values: Numbers) -> Numbers:
    """Pad the last axis with zeros to a multiple of `GROUP`."""
    width = [(0, 0)] * (values.ndim - 1) + [(0, padded(values.shape[-1], GROUP) - values.shape[-1])]
    return np.ascontiguousarray(np.pad(values, width))


def _distinct(words: Words) -> npt.NDArray[np.int32]:
    """The row of each id: ids whose weights equal those of the last id, bit for bit, share the last row."""
    alike = np.flatnonzero((words[:, :BLOCK] == words[-1, :BLOCK]).all(axis=1))
    parts = [alike[at : at + _ROWS_AT_ONCE] for at in range(0, len(alike), _ROWS_AT_ONCE)]
    same = np.concatenate([part[(words[part] == words[-1]).all(axis=1)] for part in parts])
    kept = np.ones(len(words), dtype=bool)
    kept[same] = False
    rows = (np.cumsum(kept) - 1).astype(np.int32)
    rows[same] = int(kept.sum())
    return rows


def _firsts(rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """For each row, the first id that has it."""
    return np.unique(rows, return_index=True)[1]
