"""Pictures to look at: sheets of samples."""

from __future__ import annotations

from PIL import Image, ImageDraw
from torch import Tensor


def to_sheet(pixels: Tensor, columns: int) -> Image.Image:
    """(B, 3, H, W) in [-1, 1] -> one picture, row by row."""
    images = pixels.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    height, width = images.shape[1:3]
    sheet = Image.new("RGB", (columns * width, -(-len(images) // columns) * height), "white")
    for i, image in enumerate(images):
        sheet.paste(Image.fromarray(image), (i % columns * width, i // columns * height))
    return sheet


def mark(sheet: Image.Image, wrong: list[bool], columns: int, size: int) -> Image.Image:
    """Puts a red frame round the pictures that the judge calls wrong."""
    draw = ImageDraw.Draw(sheet)
    for i, bad in enumerate(wrong):
        if bad:
            x, y = i % columns * size, i // columns * size
            draw.rectangle((x + 1, y + 1, x + size - 2, y + size - 2), outline=(220, 0, 0), width=2)
    return sheet
