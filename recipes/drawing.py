"""Draws product pictures in parallel. The drawing processes import only this and the corpus, no torch."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import numpy as np
from rich.progress import track

from corpus.samples import sample_product

FEW = 128  # so many are drawn sooner than processes start


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw(job: tuple[int, str, int]) -> tuple[tuple[str, str, str], np.ndarray]:
    seed, split, size = job
    sample = sample_product(seed, split, size)
    return tuple(sample.attributes), sample.image  # type: ignore[return-value]


def draw_in_order(
    count: int, split: str, size: int, first_seed: int, processes: int = 0
) -> Generator[tuple[tuple[str, str, str], np.ndarray], None, None]:
    """The attributes and the picture, (size, size, 3) uint8, of `count` seeds in order.

    `processes`: 0 for one a core.
    Raises ValueError when a drawing process dies; errors of the drawing itself come through as they are.
    """
    jobs = [(first_seed + i, split, size) for i in range(count)]
    workers = processes or count_cores()
    if count <= FEW or workers == 1:
        yield from track(map(_draw, jobs), f"drawing {split}", total=count)
        return
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield from track(pool.map(_draw, jobs, chunksize=64), f"drawing {split}", total=count)
    except BrokenProcessPool:
        raise ValueError(
            "a drawing process died (out of memory, or started from a script without a __main__ guard);"
            f" set data.processes=1, now {workers}"
        ) from None
