"""Write samples as an imagefolder (Hugging Face's layout) or as WebDataset shards.

A folder is complete or absent: everything goes to a temporary neighbour that is renamed at the end.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from PIL import Image

from corpus.samples import ProductSample


@contextmanager
def _new_folder(directory: str | Path) -> Iterator[Path]:
    """A temporary folder that becomes `directory` on success and vanishes on failure."""
    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists and is not an empty folder; name a new one")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise ValueError(f"{target} cannot be written ({error.strerror}); name a folder that can") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _png(sample: ProductSample) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sample.image).save(buffer, format="png", compress_level=4)
    return buffer.getvalue()


def _name(sample: ProductSample) -> str:
    return f"{sample.seed:08d}"


def write_imagefolder(directory: str | Path, samples: Iterable[ProductSample]) -> int:
    """Write NAME.png files and metadata.jsonl (file_name, text, category, color, pattern); return the count.

    Raises ValueError when the folder is not empty or cannot be made.
    """
    count = 0
    with _new_folder(directory) as folder, open(folder / "metadata.jsonl", "w", encoding="utf-8") as metadata:
        for sample in samples:
            file_name = f"{_name(sample)}.png"
            (folder / file_name).write_bytes(_png(sample))
            row = {"file_name": file_name, "text": sample.title, **sample.attributes._asdict()}
            metadata.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def write_webdataset(
    directory: str | Path, samples: Iterable[ProductSample], samples_per_shard: int = 1000
) -> int:
    """Write shards 000000.tar ... of NAME.png, NAME.txt (title), NAME.json (attributes); return the count.

    Raises ValueError for samples_per_shard below 1, and when the folder is not empty or cannot be made.
    """
    if samples_per_shard < 1:
        raise ValueError(f"samples_per_shard {samples_per_shard} must be 1 or more")
    import webdataset

    count = 0
    remaining = iter(samples)
    with _new_folder(directory) as folder:
        for number, first in enumerate(remaining):
            with webdataset.TarWriter(str(folder / f"{number:06d}.tar")) as shard:
                for sample in chain((first,), islice(remaining, samples_per_shard - 1)):
                    shard.write({
                        "__key__": _name(sample),
                        "png": _png(sample),
                        "txt": sample.title,
                        "json": json.dumps(sample.attributes._asdict(), ensure_ascii=False).encode(),
                    })
                    count += 1
    return count
