"""The judge: a classifier of category, colour and pattern that scores reconstructions and generated pictures.

It learns from renders alone (held-out pairs included, seeds of its own) and never sees a picture made by a model, and
nothing is ever trained on it. Heavily blurred or shuffled renders carry the pattern class "unclear", so that mush does
not pass for camouflage.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from corpus.attributes import CATEGORIES, COLORS, PATTERNS
from recipes.config import LoopConfig
from recipes.data import draw_products, to_pixels

JUDGE_SEED = 3 << 30
INPUT_SIZE = 96
NUM_RENDERS = 12_000
UNCLEAR = len(PATTERNS)


class Judge(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> logits of 12 categories, 10 colours, 6 patterns and "unclear"."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for i, channels in enumerate((width, 2 * width, 3 * width, 4 * width, 4 * width)):
            stride = 1 if i == 4 else 2
            layers += [nn.Conv2d(previous, channels, 5 if i == 0 else 3, stride, 2 if i == 0 else 1, bias=False)]
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            previous = channels
        self.features = nn.Sequential(*layers)
        self.classify = nn.Linear(2 * previous, len(CATEGORIES) + len(COLORS) + len(PATTERNS) + 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        if pixels.shape[-1] != INPUT_SIZE:
            pixels = F.interpolate(pixels, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True)
        features = self.features(pixels)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return self.classify(pooled).split([len(CATEGORIES), len(COLORS), len(PATTERNS) + 1], 1)

    @torch.no_grad()
    def right(self, pixels: Tensor, truth: Tensor) -> Tensor:
        """(B, 3) bool: category, colour, pattern right; `truth` (B, 3) int64, -1 where any answer is right."""
        answers = torch.cat([torch.stack([x.argmax(1) for x in self(part)], 1) for part in pixels.split(64)])
        return (answers == truth) | (truth < 0)


def to_labels(attributes: list) -> Tensor:
    """(N, 3) int64 indices of category, colour and pattern."""
    rows = [(CATEGORIES.index(c), COLORS.index(k), PATTERNS.index(p)) for c, k, p in attributes]
    return torch.tensor(rows)


class JudgeTask:
    """See recipes.loop.Task."""

    name = "judge"

    def __init__(self, count: int, size: int, processes: int) -> None:
        attributes, images = draw_products(count, "all", size, JUDGE_SEED, processes)
        side = (INPUT_SIZE, INPUT_SIZE)
        small = [np.asarray(Image.fromarray(x).resize(side, Image.Resampling.BILINEAR)) for x in images]
        self.images, self.labels = np.stack(small), to_labels(attributes)
        self.num_held = count // 12
        self.num_samples = count - self.num_held
        self.model: nn.Module = Judge()

    def trained(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        return {"loss": list(self.model.named_parameters())}

    def losses(self, indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        pixels, labels = to_pixels(self.images[indices.numpy()]), self.labels[indices].clone()
        kind = torch.rand(len(pixels), generator=generator)
        for i in range(len(pixels)):
            if kind[i] < 0.15:
                pixels[i], labels[i, 2] = spoil(pixels[i], generator), UNCLEAR
            elif kind[i] < 0.4:
                pixels[i] = shrink_and_grow(pixels[i], 0.65)
        pixels = pixels + 0.04 * torch.rand(len(pixels), 1, 1, 1, generator=generator) * torch.randn(
            pixels.shape, generator=generator
        )
        category, color, pattern = self.model(pixels)
        return {
            "loss": F.cross_entropy(category, labels[:, 0])
            + F.cross_entropy(color, labels[:, 1])
            + F.cross_entropy(pattern, labels[:, 2])
        }

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Judge)
        right = model.right(to_pixels(self.images[self.num_samples :]), self.labels[self.num_samples :]).float()
        names = ("category", "color", "pattern")
        return {**{n: float(v) for n, v in zip(names, right.mean(0), strict=True)}, "all": float(right.prod(1).mean())}

    def picture(self, model: nn.Module) -> None:
        return None


def shrink_and_grow(pixels: Tensor, share: float) -> Tensor:
    """(3, H, W) blurred by resizing to `share` of its size and back."""
    size = max(4, int(pixels.shape[-1] * share))
    small = F.interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)
    return F.interpolate(small, pixels.shape[1:], mode="bilinear")[0]


def spoil(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(3, H, W) with its pattern made unreadable: a strong blur, with blotches half of the time."""
    blurred = shrink_and_grow(pixels, 0.09 + 0.06 * float(torch.rand(1, generator=generator)))
    if torch.rand(1, generator=generator) < 0.5:
        blotches = F.interpolate(torch.randn(1, 1, 14, 14, generator=generator), pixels.shape[1:], mode="bicubic")[0]
        ink = (blurred.mean(0, keepdim=True) < 0.85).float()
        blurred = (blurred + 0.12 * blotches * ink).clamp(-1, 1)
    return blurred


def load_judge(config: LoopConfig, size: int = 128, processes: int = 0) -> Judge:
    """The judge that `config` describes, trained first if `runs/` does not hold it (3 minutes on 2 cores)."""
    from recipes.loop import train

    directory = Path("runs") / f"judge-{config.steps}-{config.batch_size}-{config.seed}"
    path = directory / "judge.safetensors"
    judge = Judge()
    if not path.is_file():
        torch.manual_seed(config.seed)
        trained = train(JudgeTask(NUM_RENDERS, size, processes), config, directory)
        save_file(trained.cpu().state_dict(), path)
    judge.load_state_dict(load_file(path))
    return judge.eval()
