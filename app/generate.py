"""`m6 generate`: a prompt to a picture file that says how it was made."""

from __future__ import annotations

import os
import re
import secrets
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import say_warning
from app.models import find_model, load_model
from app.prompts import check_text, read_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines import TextToImagePipeline

OUTPUTS = Path("outputs")
MAX_PICTURES = 64  # of one call: so many make a grid that can still be looked at
BATCH = 8  # pictures drawn side by side; more only cost memory
SEED_BITS = 24  # of seeds drawn here: short enough to type
LAST_SEED = (1 << 63) - 1 - MAX_PICTURES


@dataclass(frozen=True)
class Sampling:
    """How codes are drawn; None is the model's default (see pipelines.SamplingDefaults)."""

    top_k: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    guidance_scale: float | None = None

    def complete(self, pipe: TextToImagePipeline) -> dict[str, Any]:
        """The settings as they are used, the model's defaults filled in."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return asdict(replace(pipe.defaults, **given))


@dataclass(frozen=True)
class Written:
    """The files of one call: the picture or the grid first; picture i was drawn with seed `seed` + i."""

    paths: list[Path]
    seed: int
    num_images: int


def new_seed() -> int:
    return secrets.randbits(SEED_BITS)


def check_request(prompt: str, num_images: int, seed: int | None) -> None:
    """What can be told before the model loads. Raises ValueError."""
    check_text(prompt)
    if not 1 <= num_images <= MAX_PICTURES:
        raise ValueError(
            f"number of pictures {num_images} must be 1 to {MAX_PICTURES}; draw more with further seeds"
        )
    if seed is not None and not 0 <= seed <= LAST_SEED:
        raise ValueError(f"seed {seed} must be a whole number from 0 to {LAST_SEED}")


def check_output(path: Path) -> None:
    """Raises ValueError when no PNG can be written at `path`; makes nothing."""
    if path.is_dir():
        raise ValueError(f"output {path} is a folder; name a file in it, such as {path / 'picture.png'}")
    if path.suffix.lower() != ".png":
        raise ValueError(f"output {path} must end in .png, the format that keeps the prompt and the settings")
    for folder in path.absolute().parents:
        if os.path.lexists(folder):
            if not folder.is_dir():
                raise ValueError(
                    f"output {path} cannot be written: {folder} is no folder; name a file in a folder"
                )
            if not os.access(folder, os.W_OK | os.X_OK):
                raise ValueError(
                    f"output {path} cannot be written: no permission in {folder}; choose another with -o"
                )
            return


def file_words(prompt: str) -> str:
    """The prompt's beginning as a part of a file name."""
    return re.sub(r"[^\w]+", "_", prompt).strip("_")[:40] or "picture"


def default_output(prompt: str, seed: int) -> Path:
    """A name that tells the prompt and the seed, and that no file has yet."""
    for copy in range(1, sys.maxsize):
        path = OUTPUTS / f"{file_words(prompt)}-{seed}{f'-{copy}' if copy > 1 else ''}.png"
        if not path.exists():
            return path
    raise AssertionError


def picture_paths(path: Path, num_images: int, each: bool) -> list[Path]:
    """The file of the picture or the grid, then with `each` NAME-1.png, NAME-2.png ... of each one."""
    singles = range(1, num_images + 1) if each and num_images > 1 else ()
    return [path, *(path.with_name(f"{path.stem}-{i}{path.suffix}") for i in singles)]


def program_version() -> str:
    try:
        return version("m6")
    except PackageNotFoundError:
        return "0 (not installed)"


def picture_info(
    prompt: str, seed: int, settings: dict[str, Any], model: Path, num_images: int = 1
) -> dict[str, Any]:
    """What a picture file keeps of how it was made; in a grid picture i has seed + i."""
    info = {
        "prompt": prompt,
        "seed": seed,
        **settings,
        "model": model.resolve().name,
        "program": f"m6 {program_version()}",
    }
    return {**info, "num_images": num_images} if num_images > 1 else info


def draw(
    pipe: TextToImagePipeline, prompt: str, num_images: int, seed: int, settings: dict[str, Any]
) -> Iterator[list[Image]]:
    """The pictures of seeds `seed`, `seed` + 1 ..., a batch at a time."""
    from pipelines import UnknownWordsWarning

    for first in range(0, num_images, BATCH):
        count = min(BATCH, num_images - first)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownWordsWarning)  # said already
            images = pipe(prompt, num_images_per_prompt=count, seed=seed + first, **settings).images
        assert isinstance(images, list)
        yield images


def generate(
    prompt: str,
    num_images: int = 1,
    seed: int | None = None,
    sampling: Sampling | None = None,
    model: str = "demo",
    output: Path | None = None,
    each: bool = False,
    device: str = "auto",
) -> Written:
    """Draws and writes pictures; a grid where there are several. Files are whole or absent.

    Words that the model does not know are said on stderr.
    Raises ValueError for wrong input, where possible before the model loads, and OSError from the disk.
    """
    check_request(prompt, num_images, seed)
    seed = new_seed() if seed is None else seed
    paths = picture_paths(output or default_output(prompt, seed), num_images, each)
    for path in paths:
        check_output(path)
    folder = find_model(model)
    pipe = load_model(folder, device)

    from pipelines import save_picture, to_grid

    words = read_prompt(pipe.tokenizer, prompt)
    if words.unknown and words.any_known:
        say_warning(f"the model does not know {', '.join(words.unknown)}: this cannot show in the picture")
    settings = (sampling or Sampling()).complete(pipe)
    images = [image for batch in draw(pipe, prompt, num_images, seed, settings) for image in batch]
    whole = images[0] if num_images == 1 else to_grid(images)
    save_picture(whole, paths[0], picture_info(prompt, seed, settings, folder, num_images))
    for i, path in enumerate(paths[1:]):
        save_picture(images[i], path, picture_info(prompt, seed + i, settings, folder))
    return Written(paths, seed, num_images)
