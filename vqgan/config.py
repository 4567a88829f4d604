"""What a VQGAN is made of: one dataclass, stored as config.json."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

QUANTIZERS = ("vector", "ema", "cosine", "gumbel", "fsq")
CLASS_NAME = "VQGAN"


def is_count(value: object) -> bool:
    return type(value) is int and value >= 1


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes in pixels and channels; the defaults are taming's f16 with 1024 codes.

    Raises ValueError for values that do not fit together.
    """

    sample_size: int = 256  # pixels of a side that the model was trained at
    in_channels: int = 3
    out_channels: int = 3
    base_channels: int = 128  # taming's `ch`
    channel_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)  # taming's `ch_mult`; each level but the last halves
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (16,)  # sides, in features, of the levels with attention
    mid_attention: bool = True
    dropout: float = 0.0
    patch_size: int = 1  # pixel unshuffle before the encoder, shuffle after the decoder; 1 is taming's
    color_skip: bool = False  # mean colours of each cell go to and from the code by a linear map as well
    latent_channels: int = 256  # taming's `z_channels`
    codebook_size: int = 1024  # taming's `n_embed`
    codebook_dim: int = 256  # taming's `embed_dim`
    quantizer: str = "vector"  # vector (taming's), ema, cosine, gumbel, fsq
    commitment_weight: float = 0.25
    codebook_decay: float = 0.99  # ema and cosine: decay of the moving averages
    dead_code_share: float = 0.1  # ema and cosine: codes used less than this share of the mean start again
    fsq_levels: tuple[int, ...] = ()  # fsq: levels of each of the codebook_dim dimensions

    def __post_init__(self) -> None:
        for name in ("channel_multipliers", "attention_resolutions", "fsq_levels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in (
            "sample_size", "in_channels", "out_channels", "base_channels", "num_res_blocks", "patch_size",
            "latent_channels", "codebook_size", "codebook_dim",
        ):  # fmt: skip
            if not is_count(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r} must be a whole number of at least 1")
        if not self.channel_multipliers or not all(map(is_count, self.channel_multipliers)):
            raise ValueError(
                f"channel_multipliers {list(self.channel_multipliers)} must be whole numbers of at least 1,"
                " one a level, such as [1, 2]"
            )
        limits = (("dropout", 1), ("codebook_decay", 1), ("dead_code_share", 1), ("commitment_weight", math.inf))
        for name, limit in limits:
            if not 0 <= getattr(self, name) < limit:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 0 and below {limit}")
        if self.base_channels % 32:
            raise ValueError(f"base_channels {self.base_channels} must be a multiple of 32 (GroupNorm has 32 groups)")
        if self.sample_size % self.downsampling_factor:
            raise ValueError(
                f"sample_size {self.sample_size} must be a multiple of {self.downsampling_factor}"
                f" (patch_size {self.patch_size} x {2 ** (len(self.channel_multipliers) - 1)} of channel_multipliers)"
            )
        if self.quantizer not in QUANTIZERS:
            raise ValueError(f"quantizer {self.quantizer!r} is unknown; choose one of {', '.join(QUANTIZERS)}")
        if self.color_skip and self.quantizer == "gumbel":
            raise ValueError("color_skip adds to codes, and quantizer 'gumbel' has only logits; choose another one")
        if self.quantizer == "fsq":
            count = math.prod(self.fsq_levels)
            if len(self.fsq_levels) != self.codebook_dim or count != self.codebook_size:
                raise ValueError(
                    f"fsq_levels {list(self.fsq_levels)} make {count} codes of {len(self.fsq_levels)} dimensions;"
                    f" set codebook_size and codebook_dim (now {self.codebook_size} and {self.codebook_dim}) to that"
                )

    @property
    def downsampling_factor(self) -> int:
        """Pixels of a side that one code stands for (taming's f)."""
        return self.patch_size * 2 ** (len(self.channel_multipliers) - 1)

    @property
    def code_grid(self) -> tuple[int, int]:
        """(rows, columns) of codes of a picture of sample_size."""
        side = self.sample_size // self.downsampling_factor
        return side, side

    def to_json(self) -> str:
        return json.dumps({"_class_name": CLASS_NAME, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> VQGANConfig:
        """Raises ValueError for a missing, broken or foreign file."""
        try:
            values: Any = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} is missing; give a folder that save_pretrained or `m6 import` made") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}); copy the folder again") from None
        if not isinstance(values, dict) or values.pop("_class_name", None) != CLASS_NAME:
            raise ValueError(f"{path} describes no {CLASS_NAME}; convert foreign checkpoints with `m6 import`")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"{path} has unknown keys {', '.join(unknown)}; it was made by another version")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
