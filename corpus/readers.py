"""Read pictures with texts: an imagefolder, WebDataset shards, or pairs NAME.png + NAME.txt."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Sample:
    """A picture (PIL, RGB), its text, and what else is known about it (or None)."""

    image: Image.Image
    text: str
    attributes: dict[str, Any] | None


def _decode(data: bytes, origin: str) -> Image.Image:
    """RGB; transparent pixels become white."""
    try:
        picture: Image.Image = Image.open(io.BytesIO(data))
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        return picture.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{origin} is no picture that can be read ({error}); replace it") from error


def _parse_json(text: str | bytes, origin: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{origin} is not JSON ({error}); correct it") from error
    if not isinstance(row, dict):
        raise ValueError(f"{origin} holds a {type(row).__name__}; it must be a JSON object")
    return row


def read_imagefolder(directory: str | Path) -> Iterator[Sample]:
    """Samples of a folder with metadata.jsonl (file_name, text, any attributes), in its order.

    Raises ValueError for a missing file, a row without file_name or text, or a broken picture.
    """
    folder = Path(directory)
    metadata = folder / "metadata.jsonl"
    if not metadata.is_file():
        raise ValueError(f"{metadata} is missing; it needs one line a picture with file_name and text")
    with open(metadata, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = _parse_json(line, f"{metadata} line {number}")
            if not isinstance(row.get("file_name"), str) or not isinstance(row.get("text"), str):
                raise ValueError(f"{metadata} line {number} needs file_name and text, both strings")
            path = folder / row.pop("file_name")
            text = row.pop("text")
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{metadata} line {number} names {path}, outside its folder; move it inside")
            if not path.is_file():
                raise ValueError(f"{path}, named in {metadata} line {number}, is missing")
            yield Sample(_decode(path.read_bytes(), str(path)), text, row or None)


def _shard_groups(shard: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Neighbouring members that share a name up to its first dot, by extension."""
    key, members = "", dict[str, bytes]()
    try:
        with tarfile.open(shard, "r|*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is None:
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                member_key = f"{folder}/{stem}" if folder else stem
                if member_key != key and members:
                    yield key, members
                    members = {}
                key = member_key
                members[f".{extension.lower()}"] = stream.read()
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{shard} is no complete tar file ({error}); write it again") from error
    if members:
        yield key, members


def read_webdataset(path: str | Path) -> Iterator[Sample]:
    """Samples of one shard (.tar) or of all shards in a folder, sorted by name.

    A sample is a picture (png, jpg, jpeg, webp, bmp) with a txt, and perhaps a json of attributes. Raises
    ValueError for no shards, a truncated shard, or a sample without a picture or text.
    """
    root = Path(path)
    shards = [root] if root.is_file() else sorted(root.glob("*.tar"))
    if not shards:
        raise ValueError(f"{root} holds no .tar shards")
    for shard in shards:
        for key, members in _shard_groups(shard):
            pictures = [data for extension, data in members.items() if extension in PICTURE_SUFFIXES]
            if not pictures or ".txt" not in members:
                found = " ".join(sorted(members))
                raise ValueError(f"{shard}: sample {key} needs a picture and a .txt, has {found}")
            row = _parse_json(members[".json"], f"{shard}: {key}.json") if ".json" in members else None
            text = _text(members[".txt"], f"{shard}: {key}.txt")
            yield Sample(_decode(pictures[0], f"{shard}: {key}"), text, row)


def _text(data: bytes, origin: str) -> str:
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{origin} is not UTF-8 text; convert it") from error


def _pictures(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    return sorted(path for path in found if path.is_file())


def read_pairs(directory: str | Path) -> Iterator[Sample]:
    """Samples of a folder (and its subfolders) of pictures, each with a .txt of the same name beside it.

    Raises ValueError for no pictures, or a picture without its text.
    """
    pictures = _pictures(Path(directory))
    if not pictures:
        raise ValueError(f"{directory} holds no pictures ({' '.join(PICTURE_SUFFIXES)})")
    for path in pictures:
        words = path.with_suffix(".txt")
        if not words.is_file():
            raise ValueError(f"{words} is missing; each picture needs a .txt of the same name")
        yield Sample(_decode(path.read_bytes(), str(path)), _text(words.read_bytes(), str(words)), None)


def open_corpus(path: str | Path) -> Iterator[Sample]:
    """Samples of whatever is at `path`: an imagefolder, WebDataset shards, or pairs.

    Raises ValueError when it is none of them.
    """
    root = Path(path)
    if not root.exists():
        raise ValueError(f"{root} does not exist")
    if root.is_file():
        if root.suffix != ".tar":
            raise ValueError(f"{root} is no .tar shard; name a shard or a folder")
        return read_webdataset(root)
    if (root / "metadata.jsonl").is_file():
        return read_imagefolder(root)
    if any(root.glob("*.tar")):
        return read_webdataset(root)
    if _pictures(root):
        return read_pairs(root)
    raise ValueError(f"{root} is no corpus; give it metadata.jsonl, .tar shards, or pictures with .txt")
