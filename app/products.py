"""`m6 corpus products`: the procedural product corpus as files, drawn by several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from corpus.attributes import attribute_sets
from corpus.samples import ProductSample, sample_product

FEW = 256  # so many are drawn sooner than processes start
BLOCK = 2048  # pictures drawn ahead of the writing, at most


def draw_samples(count: int, size: int, split: str, seed: int, processes: int) -> Iterator[ProductSample]:
    """Samples of seeds `seed`, `seed` + 1 ..., in order."""
    sample = partial(sample_product, split=split, size=size)
    seeds = range(seed, seed + count)
    if count <= FEW or processes == 1:
        yield from map(sample, seeds)
        return
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for first in range(0, count, BLOCK):
                yield from pool.map(sample, seeds[first : first + BLOCK], chunksize=32)
    except BrokenProcessPool:
        raise ValueError(
            f"one of {processes} drawing processes died (out of memory?); try --processes 1"
        ) from None


def write_products(
    out: Path, count: int, size: int, split: str, seed: int, form: str, processes: int = 0
) -> int:
    """Draws `count` products into the new folder `out` (whole or absent), a bar on stderr; returns the count.

    processes: 0 is one a core. Raises ValueError for values out of range and a folder in use.
    """
    from rich.console import Console
    from rich.progress import Progress

    from corpus.writers import write_imagefolder, write_webdataset

    writers = {"imagefolder": write_imagefolder, "webdataset": write_webdataset}
    if form not in writers:
        raise ValueError(f"format {form!r} is unknown; choose one of {', '.join(writers)}")
    for name, value, least in (
        ("count", count, 1),
        ("size", size, 16),
        ("seed", seed, 0),
        ("processes", processes, 0),
    ):
        if value < least:
            raise ValueError(f"{name} {value} must be at least {least}")
    attribute_sets(split)
    samples = draw_samples(count, size, split, seed, processes or os.cpu_count() or 1)
    with Progress(console=Console(stderr=True)) as progress:
        return writers[form](out, progress.track(samples, count, description="drawing products"))
