"""What the page does with a prompt: pictures as they fill, then as files; complaints in two languages."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.generate import Sampling, file_words, new_seed, picture_info
from app.prompts import MAX_CHARACTERS, read_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines import TextToImagePipeline

MAX_PICTURES = 8  # of one click
MAX_SEED = (1 << 53) - 1 - MAX_PICTURES  # what a browser's numbers hold
EXAMPLES = (
    "军旅风迷彩高跟鞋",
    "复古波点连衣裙红色",
    "减震透气跑鞋蓝色条纹",
    "绵羊毛商务休闲西服套装",
    "北欧布艺沙发绿色格纹",
    "智能机器人玩具黄色",
    "田园碎花遮阳伞粉色",
    "大容量双肩包黑色纯色",
)


@dataclass(frozen=True)
class View:
    """What there is to show: unfinished pictures, or the files of finished ones."""

    share_done: float  # of the codes, in (0, 1]
    pictures: list[Image] | list[Path]
    seeds: list[int]
    seconds: float  # since the start


class Studio:
    """A pipeline behind a page."""

    def __init__(self, pipe: TextToImagePipeline, model: Path) -> None:
        self.pipe, self.model = pipe, model
        self.max_characters = min(MAX_CHARACTERS, 4 * pipe.tokenizer.max_length)
        self.codebook_size = pipe.prior.config.codebook_size

    def examples(self) -> list[str]:
        """Prompts of which the model knows every word."""
        return [text for text in EXAMPLES if not self.complaint(text) and not self.unknown(text)]

    def unknown(self, prompt: str) -> list[str]:
        return self.pipe.tokenizer.unknown_words(prompt)

    def complaint(self, prompt: str) -> str | None:
        """Why the prompt cannot be drawn, in Chinese and English, or None."""
        if not prompt.strip():
            return "请写一句描述，例如：红色高跟鞋 · The prompt is empty: write what the picture shows."
        if len(prompt) > self.max_characters:
            return (
                f"描述有 {len(prompt)} 个字符，最多 {self.max_characters} 个，请缩短 · "
                f"The prompt has {len(prompt)} characters, the limit is {self.max_characters}: shorten it."
            )
        words = read_prompt(self.pipe.tokenizer, prompt)
        if not words.any_known:
            return f"模型不认识这些词：{prompt} · The model knows none of these words: use others."
        if words.num_tokens > words.max_tokens:
            return (
                f"描述有 {words.num_tokens} 个词元，最多 {words.max_tokens} 个，请缩短 · "
                f"The prompt has {words.num_tokens} tokens, the limit is {words.max_tokens}: shorten it."
            )
        return None

    def draw(
        self, prompt: str, num_images: int, seed: int | None, sampling: Sampling, folder: Path
    ) -> Iterator[View]:
        """Views of a prompt's pictures as they fill; the last one has their files, written to `folder`.

        Raises ValueError for what `complaint` says and for settings out of range.
        """
        if complaint := self.complaint(prompt):
            raise ValueError(complaint)
        if not 1 <= num_images <= MAX_PICTURES:
            raise ValueError(
                f"图片数量须为 1 至 {MAX_PICTURES} · {num_images} pictures: ask for 1 to {MAX_PICTURES}."
            )
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise ValueError(f"种子须为 0 至 {MAX_SEED} · The seed {seed} must be 0 to {MAX_SEED}.")
        from pipelines import save_picture

        started = time.monotonic()
        first = new_seed() if seed is None else seed
        seeds = [first + i for i in range(num_images)]
        settings = sampling.complete(self.pipe)
        for part in self.pipe.stream(prompt, num_images, seed=first, **settings):
            seconds = time.monotonic() - started
            if part.output is None:
                yield View(part.share_done, part.images, seeds, seconds)
                continue
            paths: list[Path] = []
            for image, number in zip(part.images, seeds, strict=True):
                paths.append(folder / f"{file_words(prompt)}-{number}.png")
                save_picture(image, paths[-1], picture_info(prompt, number, settings, self.model))
            yield View(1.0, paths, seeds, seconds)


def ignore_unknown_words() -> None:
    """The page says them itself."""
    from pipelines import UnknownWordsWarning

    warnings.simplefilter("ignore", UnknownWordsWarning)
