"""The folder of a whole model: model_index.json beside one folder a part, as diffusers lays it out.

A folder is written under a temporary name beside its place and renamed into it: none is ever half-written.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INDEX_NAME = "model_index.json"
CLASS_NAME = "TextToImagePipeline"
PARTS = {  # folder: package and class
    "vqgan": ["vqgan", "VQGAN"],
    "prior": ["m6_prior", "M6Model"],
    "tokenizer": ["m6_prior", "M6Tokenizer"],
}


def write_index(folder: Path, sampling: dict[str, Any]) -> None:
    """Writes model_index.json: the class of each part, in diffusers' form, and the defaults of sampling."""
    index = {"_class_name": CLASS_NAME, **PARTS, "sampling": sampling}
    (folder / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def read_index(folder: Path) -> dict[str, Any]:
    """The defaults of sampling of the model in `folder`.

    Raises ValueError when the folder or a part of it is missing, truncated or another program's.
    """
    path = folder / INDEX_NAME
    if not folder.is_dir():
        wrong = "is a file, not a folder" if folder.exists() else "is not there"
        raise ValueError(f"model folder {folder} {wrong}; give one that `m6 train` or save_pretrained made")
    if not path.is_file():
        raise ValueError(f"model folder {folder} has no {INDEX_NAME}; it is no model, or copy it again")
    try:
        index = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); it is truncated or foreign, copy it again") from None
    found = index.get("_class_name") if isinstance(index, dict) else None
    if found != CLASS_NAME:
        raise ValueError(f"{path} describes {found or 'no pipeline'}, not {CLASS_NAME}; give an M6 model")
    for name, where in PARTS.items():
        if index.get(name) != where:
            raise ValueError(f"{path} has {name} {index.get(name)!r}, not {where}; another program made it")
        if not (folder / name).is_dir():
            raise ValueError(f"model folder {folder} has no {name}/; it is incomplete, copy it again")
    if not isinstance(index.get("sampling"), dict):
        raise ValueError(f"{path} has no sampling defaults; another program or version made it")
    return index["sampling"]


@contextmanager
def replacing(directory: str | Path) -> Iterator[Path]:
    """Yields an empty folder to fill, which takes the place of `directory` when the block ends well.

    A model that was there goes; files beside its parts (a README) stay. Killed between the two renames at the
    end, it leaves the old model beside its place, under a name that ends in `.old`.
    Raises ValueError when `directory` holds anything but a model.
    """
    place = Path(directory).resolve()
    if place.exists() and not place.is_dir():
        raise ValueError(f"{place} is a file; give the name of a folder")
    if place.is_dir() and any(place.iterdir()) and not (place / INDEX_NAME).is_file():
        raise ValueError(f"{place} holds files but no model; give a new or an empty folder")
    new = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.new")
    old = new.with_suffix(".old")
    new.mkdir(parents=True)
    try:
        yield new
        if not place.exists():
            new.rename(place)
            return
        copy_others(place, new)
        place.rename(old)
        try:
            new.rename(place)
        except BaseException:
            old.rename(place)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def copy_others(source: Path, target: Path) -> None:
    """Copies what is in `source` beside a model's own files."""
    for entry in source.iterdir():
        if entry.name in (INDEX_NAME, *PARTS):
            continue
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, target / entry.name, follow_symlinks=False)
