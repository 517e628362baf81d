"""Token counts of a sample of the training data: `python -m training.count --out training/counts.npy`."""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os

import numpy as np
import numpy.typing as npt

from gptoss_tui.vocabulary import VOCAB_SIZE
from training.data import generate_group

_FIRST_SEED = 7 * 10**12


def count(seed: int) -> npt.NDArray[np.int64]:
    """Count the ids of one group, both those to learn and those only read: [VOCAB_SIZE]."""
    group = generate_group(_FIRST_SEED + seed, 3_500)
    ids = [*group.preamble_ids]
    for sample in group.samples:
        for part, _ in sample.segments:
            ids.extend(part)
    return np.bincount(ids, minlength=VOCAB_SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=4_000)
    parser.add_argument("--out", default="training/counts.npy")
    args = parser.parse_args()
    total = np.zeros(VOCAB_SIZE, np.int64)
    with mp.Pool(os.cpu_count()) as pool:
        for counts in pool.imap_unordered(count, range(args.groups), chunksize=16):
            total += counts
    np.save(args.out, total.astype(np.int32))
    print(f"{total.sum()} tokens, {np.count_nonzero(total)} ids -> {args.out}")


if __name__ == "__main__":
    main()
