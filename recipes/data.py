"""Pictures for training, packed once into a memory-mapped array and read by index.

A batch is a pure function of (seed, step), so a resumed run sees exactly what an uninterrupted one would.
"""

from __future__ import annotations

import json
import random
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from corpus.attributes import Attributes
from corpus.titles import write_title
from recipes.config import DataConfig
from recipes.drawing import draw_in_order

VALIDATION_SEED = 1 << 30  # training seeds stay below, evaluation's lie above


class PictureStore:
    """N pictures (N, H, W, 3) uint8 with their texts: titles written afresh at each reading, or fixed captions.

    A folder of `images.bin` (the bytes of all pictures, mapped into memory), `rows.json` and, last, `made.json`.
    """

    def __init__(self, directory: Path) -> None:
        size = json.loads((directory / "made.json").read_text("utf-8"))["size"]
        rows = json.loads((directory / "rows.json").read_text("utf-8"))
        self.images = np.memmap(directory / "images.bin", np.uint8, "r", shape=(len(rows), size, size, 3))
        self.attributes = [Attributes(*row["attributes"]) if "attributes" in row else None for row in rows]
        self.captions = [row.get("text", "") for row in rows]

    @staticmethod
    def is_whole(directory: Path) -> bool:
        """Whether the files are all there and belong together."""
        try:
            size = json.loads((directory / "made.json").read_text("utf-8"))["size"]
            num_rows = len(json.loads((directory / "rows.json").read_text("utf-8")))
            return (directory / "images.bin").stat().st_size == num_rows * size * size * 3
        except (OSError, ValueError):
            return False

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, indices: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """(B,) int64 -> (B, 3, H, W) float32 in [-1, 1] on `device`."""
        return to_pixels(self.images[indices.numpy()], device)

    def texts(self, indices: Tensor, rng: random.Random) -> list[str]:
        chosen: list[str] = []
        for i in indices.tolist():
            attributes = self.attributes[i]
            chosen.append(self.captions[i] if attributes is None else write_title(attributes, rng))
        return chosen


def to_pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [-1, 1] on `device`."""
    moved = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return moved.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


@lru_cache(maxsize=2)
def _epoch_order(num_samples: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(num_samples, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def batch_indices(num_samples: int, batch_size: int, step: int, seed: int) -> Tensor:
    """(batch_size,) int64: the samples of one step; every epoch is a fresh permutation of all of them."""
    parts: list[Tensor] = []
    position, end = step * batch_size, (step + 1) * batch_size
    while position < end:
        epoch, offset = divmod(position, num_samples)
        parts.append(_epoch_order(num_samples, seed, epoch)[offset : offset + end - position])
        position += len(parts[-1])
    return torch.cat(parts)


def draw_products(count: int, split: str, size: int, first_seed: int, processes: int = 0) -> tuple[list, np.ndarray]:
    """Draws `count` product pictures in parallel; returns their attributes and (count, size, size, 3) uint8."""
    images = np.empty((count, size, size, 3), np.uint8)
    attributes: list = []
    for i, (names, image) in enumerate(draw_in_order(count, split, size, first_seed, processes)):
        attributes.append(names)
        images[i] = image
    return attributes, images


def open_store(directory: Path, config: DataConfig, count: int, first_seed: int) -> PictureStore:
    """The store in `directory`, made first if it is not there, is incomplete or was made from other settings.

    Raises ValueError for a folder that `corpus.readers` cannot read or that is too small.
    """
    made = directory / "made.json"
    signature = {"corpus": config.corpus, "count": count, "size": config.size, "first_seed": first_seed}
    if not (made.is_file() and made.read_text("utf-8") == json.dumps(signature) and PictureStore.is_whole(directory)):
        directory.mkdir(parents=True, exist_ok=True)
        made.unlink(missing_ok=True)
        rows: list[dict] = []
        # closed, so that no progress bar outlives an error of the disk
        with closing(make_pairs(config, count, first_seed)) as pairs, (directory / "images.bin").open("wb") as file:
            for row, image in pairs:
                rows.append(row)
                file.write(image.tobytes())
        (directory / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
        made.write_text(json.dumps(signature), "utf-8")
    return PictureStore(directory)


def make_pairs(config: DataConfig, count: int, first_seed: int) -> Generator[tuple[dict, np.ndarray], None, None]:
    """Each picture, (size, size, 3) uint8, with its row of rows.json."""
    if config.corpus == "products":
        with closing(draw_in_order(count, "train", config.size, first_seed, config.processes)) as drawn:
            for names, image in drawn:
                yield {"attributes": names}, image
    else:
        yield from read_folder(config, count, validation=first_seed >= VALIDATION_SEED)


def read_folder(config: DataConfig, count: int, validation: bool) -> Iterator[tuple[dict, np.ndarray]]:
    """One's own pictures, cropped to a square and resized: every tenth for validation, the others for training."""
    from PIL import Image, ImageOps

    from corpus.readers import open_corpus

    num_read = 0
    for i, sample in enumerate(track(open_corpus(config.corpus), f"reading {config.corpus}")):
        if num_read == count:
            return
        if (i % 10 == 9) is validation:
            num_read += 1
            size = (config.size, config.size)
            yield {"text": sample.text}, np.asarray(ImageOps.fit(sample.image, size, Image.Resampling.LANCZOS))
    if not num_read:
        raise ValueError(f"data.corpus {config.corpus}: every tenth picture is kept for validation; give 10 or more")
