"""Reads checkpoints that other people pickled, without executing anything that they hold.

torch's weights-only reader builds tensors and plain containers and calls nothing else. Lightning checkpoints also
name classes (callbacks, settings, numpy scalars) that say nothing about the weights: each such name from a short
list stands for an inert class of ours while the file is read, so that not even those run. Any other name is refused.
"""

from __future__ import annotations

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import IO, Any

import torch

# What Lightning files name beside tensors: callbacks as keys of their states, hyperparameters, scores, paths.
HARMLESS_MODULES = frozenset(
    {"pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "omegaconf", "numpy", "typing"}
)
HARMLESS_NAMES = frozenset(
    {
        "argparse.Namespace",
        "collections.defaultdict",
        *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")),
        *(f"builtins.{name}" for name in ("object", "dict", "list", "tuple", "set", "int", "float", "str", "bool")),
    }
)
LIKE_DICT = ("defaultdict", "AttributeDict", "dict")
LEGACY_PICKLES = 4  # before torch 1.6: magic number, version, system, then the object itself


class Inert:
    """Stands for a class whose objects are of no use here; takes any arguments and any state, keeps none."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return {} if cls.__name__ in LIKE_DICT else object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def read_checkpoint(path: Path) -> Any:
    """What a file of torch.save holds, tensors on the CPU; nothing in it is executed.

    Raises ValueError, naming the file, when it is missing, truncated, no such file, or would call other code.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing or no file; give the checkpoint that the authors publish")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; download it again")
    try:
        names = pickled_names(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({one_line(error)}); it is truncated or no checkpoint") from None
    if refused := sorted(name for name in names if not is_harmless(name) and not is_weights_only(name)):
        raise ValueError(
            f"{path} was not read: unpickling it would call {', '.join(refused[:4])}, and that can be any code;"
            " get it from its authors, or save it again with its state_dict alone"
        )
    stand_ins: list[Any] = [(type(n.rpartition(".")[2], (Inert,), {}), n) for n in names if is_harmless(n)]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({one_line(error)}); it is truncated or no checkpoint") from None


def is_harmless(name: str) -> bool:
    return name.partition(".")[0] in HARMLESS_MODULES or name in HARMLESS_NAMES


def is_weights_only(name: str) -> bool:
    """Names that torch's weights-only reader knows or refuses itself; the rest never reaches it."""
    return name.partition(".")[0] == "torch" or name in (
        "collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.bytearray", "builtins.complex",
    )  # fmt: skip


def pickled_names(path: Path) -> set[str]:
    """Every class or function that the pickles of a torch.save file name, read without unpickling."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return {name for _ in range(LEGACY_PICKLES) for name in _names(file)}
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(members) != 1:
            raise ValueError("a zip file without weights in it")
        with archive.open(members[0]) as member:
            return _names(member)


def _names(pickle: IO[bytes]) -> set[str]:
    names = set()
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            # torch writes Python 2's names, and its reader translates them so
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            names.add(f"{module}.{name}")
        elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"its pickle names classes by {opcode.name}, which torch.save never does")
    return names


def one_line(error: Exception) -> str:
    """The first sentence of an error: torch's own go on with advice to read the file unsafely."""
    return " ".join(str(error).split("\n")[0].split())[:200] or type(error).__name__
