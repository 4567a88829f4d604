"""Pictures for training, packed once into a memory-mapped array and read by index.

A batch is a pure function of (seed, step), so a resumed run sees exactly what an uninterrupted one would.
"""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from corpus.attributes import Attributes
from corpus.samples import sample_product
from corpus.titles import write_title
from recipes.config import DataConfig

VALIDATION_SEED = 1 << 30  # training seeds stay below, evaluation's lie above


class PictureStore:
    """N pictures (N, H, W, 3) uint8 with their texts: titles written afresh at each reading, or fixed captions."""

    def __init__(self, directory: Path) -> None:
        self.images = np.load(directory / "images.npy", mmap_mode="r")
        rows = json.loads((directory / "rows.json").read_text("utf-8"))
        self.attributes = [Attributes(*row["attributes"]) if "attributes" in row else None for row in rows]
        self.captions = [row.get("text", "") for row in rows]

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, indices: Tensor) -> Tensor:
        """(B,) int64 -> (B, 3, H, W) float32 in [-1, 1]."""
        return to_pixels(self.images[indices.numpy()])

    def texts(self, indices: Tensor, rng: random.Random) -> list[str]:
        chosen: list[str] = []
        for i in indices.tolist():
            attributes = self.attributes[i]
            chosen.append(self.captions[i] if attributes is None else write_title(attributes, rng))
        return chosen


def to_pixels(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def batch_indices(num_samples: int, batch_size: int, step: int, seed: int) -> Tensor:
    """(batch_size,) int64: the samples of one step; every epoch is a fresh permutation of all of them."""
    first = step * batch_size
    parts: list[Tensor] = []
    while sum(map(len, parts)) < batch_size:
        position = first + sum(map(len, parts))
        epoch, offset = divmod(position, num_samples)
        order = torch.randperm(num_samples, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        parts.append(order[offset : offset + batch_size - sum(map(len, parts))])
    return torch.cat(parts)


def _draw(job: tuple[int, str, int]) -> tuple[tuple[str, str, str], np.ndarray]:
    seed, split, size = job
    sample = sample_product(seed, split, size)
    return tuple(sample.attributes), sample.image  # type: ignore[return-value]


def draw_products(count: int, split: str, size: int, first_seed: int, processes: int = 0) -> tuple[list, np.ndarray]:
    """Draws `count` product pictures in parallel; returns their attributes and (count, size, size, 3) uint8."""
    jobs = [(first_seed + i, split, size) for i in range(count)]
    images = np.empty((count, size, size, 3), np.uint8)
    attributes: list = []
    workers = processes or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        results = pool.map(_draw, jobs, chunksize=64)
        for i, (names, image) in enumerate(track(results, f"drawing {split}", total=count)):
            attributes.append(names)
            images[i] = image
    return attributes, images


def open_store(directory: Path, config: DataConfig, count: int, first_seed: int) -> PictureStore:
    """The store in `directory`, made first if it is not there or was made from other settings."""
    signature = {"corpus": config.corpus, "count": count, "size": config.size, "first_seed": first_seed}
    made = directory / "made.json"
    if not (made.is_file() and json.loads(made.read_text()) == signature):
        directory.mkdir(parents=True, exist_ok=True)
        made.unlink(missing_ok=True)
        if config.corpus == "products":
            attributes, images = draw_products(count, "train", config.size, first_seed, config.processes)
            rows = [{"attributes": names} for names in attributes]
        else:
            rows, images = _read_folder(config, count, first_seed >= VALIDATION_SEED)
        np.save(directory / "images.npy", images)
        (directory / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
        made.write_text(json.dumps(signature))
    return PictureStore(directory)


def _read_folder(config: DataConfig, count: int, validation: bool) -> tuple[list[dict], np.ndarray]:
    """One's own pictures: cropped to a square, resized; every tenth is kept for validation."""
    from PIL import Image, ImageOps

    from corpus.readers import open_corpus

    rows: list[dict] = []
    images: list[np.ndarray] = []
    for i, sample in enumerate(track(open_corpus(config.corpus), f"reading {config.corpus}")):
        if len(rows) == count:
            break
        if (i % 10 == 9) is validation:
            picture = ImageOps.fit(sample.image.convert("RGB"), (config.size, config.size), Image.Resampling.LANCZOS)
            images.append(np.asarray(picture))
            rows.append({"text": sample.text})
    if not rows:
        raise ValueError(f"data.corpus {config.corpus}: fewer than 10 readable pictures with a caption; give a larger folder")
    return rows, np.stack(images)
