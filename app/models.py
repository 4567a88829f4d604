"""From what `--model` says to a pipeline on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines import TextToImagePipeline

MODELS = Path(__file__).resolve().parent.parent / "models"
BUNDLED = "demo"


def find_model(name: str) -> Path:
    """The folder of a model: `demo` is the one bundled beside the code, anything else a path.

    Raises ValueError when nothing is there.
    """
    folder = MODELS / BUNDLED if name == BUNDLED else Path(name).expanduser()
    if folder.exists():
        return folder
    if name == BUNDLED:
        raise ValueError(
            f"the bundled model {folder} is not there; get the whole repository, or give --model DIR"
        )
    raise ValueError(
        f"model folder {folder} is not there; give a folder that `m6 train` made, or demo for the bundled one"
    )


def load_model(folder: Path, device: str) -> TextToImagePipeline:
    """device: cpu, cuda, cuda:1 ..., or auto (the first GPU, else the CPU).

    Raises ValueError for a folder that holds no whole model and for a device that is not there.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used ({reason}); choose auto, cpu or cuda") from None

    from pipelines import TextToImagePipeline

    return TextToImagePipeline.from_pretrained(folder).to(place)
