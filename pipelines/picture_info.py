"""Picture files that say how they were made: PNG with prompt, seed and settings inside; and grids.

Text chunks: `prompt`, the plain text, and `m6`, everything as JSON. Any PNG reader shows them.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

INFO_KEY, PROMPT_KEY = "m6", "prompt"


def save_picture(image: Image.Image, path: str | Path, info: dict[str, Any]) -> None:
    """Writes a PNG with `info` (JSON values; `prompt` is stored as plain text too), all or nothing.

    Folders on the way are made. Raises ValueError for a name that does not end in .png or is a folder's.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"picture file {path} must end in .png, which keeps prompt and settings")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a picture file in it")
    chunks = PngInfo()
    if PROMPT_KEY in info:
        chunks.add_itxt(PROMPT_KEY, str(info[PROMPT_KEY]))
    chunks.add_itxt(INFO_KEY, json.dumps(info, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        image.save(temporary, "PNG", pnginfo=chunks)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_picture_info(path: str | Path) -> dict[str, Any]:
    """What save_picture stored. Raises ValueError for a file that is missing, broken or without it."""
    try:
        with Image.open(path) as image:
            image.load()
            text = image.info.get(INFO_KEY)
    except FileNotFoundError:
        raise ValueError(f"picture {path} is not there") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no picture or a broken one ({error})") from None
    try:
        info = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise ValueError(f"{path} does not say how it was made; give a picture as m6 wrote it")
    return info


def to_grid(images: Sequence[Image.Image], columns: int = 0, gap: int = 0) -> Image.Image:
    """Pictures of one size, row by row on white, as square a grid as they make unless `columns` is given.

    gap: pixels between two pictures. Raises ValueError for no pictures and for different sizes.
    """
    if not images:
        raise ValueError("no pictures to put in a grid; give at least one")
    width, height = images[0].size
    if len(sizes := {image.size for image in images}) > 1:
        raise ValueError(f"pictures of sizes {sorted(sizes)} do not make a grid; resize them to one")
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    grid = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i, image in enumerate(images):
        grid.paste(image, (i % columns * (width + gap), i // columns * (height + gap)))
    return grid
