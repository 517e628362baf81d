"""Packed rows from many generator processes.

A row is one preamble followed by as many conversations as fit. Each conversation sees the preamble and itself, so the
preamble's tokens are paid once a row.
"""

from __future__ import annotations

import multiprocessing as mp
import queue
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data import Group, generate_group

PADDING = 32_767
"""Document number of padding."""

_MAX_GAP = 3_000
"""Some conversations stand this far behind the preamble at most, as in a long session."""


@dataclass(frozen=True, slots=True)
class Row:
    """One packed row, arrays [T]: token ids, document (0 is the preamble), position, whether to learn the token."""

    ids: npt.NDArray[np.int32]
    doc: npt.NDArray[np.int16]
    pos: npt.NDArray[np.int16]
    trained: npt.NDArray[np.bool_]


def pack(group: Group, length: int, rng: random.Random) -> Row:
    """The group's preamble and its conversations, as many as fit into `length` tokens."""
    ids = np.zeros(length, np.int32)
    doc = np.full(length, PADDING, np.int16)
    pos = np.zeros(length, np.int16)
    trained = np.zeros(length, np.bool_)
    start = at = len(group.preamble_ids)
    ids[:at], doc[:at], pos[:at] = group.preamble_ids, 0, np.arange(at)
    for number, sample in enumerate(group.samples, start=1):
        size = sum(len(part) for part, _ in sample.segments)
        if at + size > length:
            continue
        doc[at : at + size] = number
        gap = rng.randrange(_MAX_GAP) if rng.random() < 0.25 else 0
        pos[at : at + size] = np.arange(start + gap, start + gap + size)
        for part, learn in sample.segments:
            ids[at : at + len(part)] = part
            trained[at : at + len(part)] = learn
            at += len(part)
    return Row(ids, doc, pos, trained)


def _work(seeds: Iterator[int], length: int, out: Any) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        row = pack(generate_group(seed, length - 600), length, rng)
        out.put((row.ids, row.doc, row.pos, row.trained))


class Feed:
    """Rows from `workers` processes, each with its own stream of seeds.

    A thread empties the queue continuously. The queue's pipe holds little more than a row, so that an occasional reader
    would find only one row each time, however many the workers have ready.
    """

    def __init__(self, *, workers: int, length: int, first_seed: int, depth: int = 2048) -> None:
        context = mp.get_context("fork")
        self._queue: Any = context.Queue(maxsize=64)
        self._processes = [
            context.Process(target=_work, args=(_seeds(first_seed + k, workers), length, self._queue), daemon=True)
            for k in range(workers)
        ]
        for process in self._processes:
            process.start()
        self._ready: queue.Queue[Row] = queue.Queue(maxsize=depth)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            self._ready.put(Row(*self._queue.get()))

    def take(self, most: int) -> list[Row]:
        """Up to `most` rows that are ready."""
        rows: list[Row] = []
        with suppress(queue.Empty):
            while len(rows) < most:
                rows.append(self._ready.get_nowait())
        return rows

    def close(self) -> None:
        for process in self._processes:
            process.kill()


def _seeds(first: int, step: int) -> Iterator[int]:
    while True:
        yield first
        first += step
