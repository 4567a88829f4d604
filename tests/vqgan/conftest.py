"""Small real VQGANs, and pictures with enough variety to use many codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vqgan import VQGAN, VQGANConfig

QUANTIZER_FIELDS: dict[str, dict[str, Any]] = {
    "vector": {},
    "ema": {},
    "cosine": {},
    "gumbel": {"latent_channels": 16},
    "fsq": {"codebook_size": 60, "codebook_dim": 3, "fsq_levels": (5, 4, 3)},
}


@pytest.fixture
def make_model() -> Callable[..., VQGAN]:
    """VQGAN of f4 with 64 codes of 16 dimensions, for 32 pixels; fields of VQGANConfig change it."""

    def make(quantizer: str = "vector", seed: int = 0, **changes: Any) -> VQGAN:
        fields: dict[str, Any] = {
            "sample_size": 32, "base_channels": 32, "channel_multipliers": (1, 2), "num_res_blocks": 1,
            "attention_resolutions": (8,), "patch_size": 2, "latent_channels": 32, "codebook_size": 64,
            "codebook_dim": 16, "quantizer": quantizer, **QUANTIZER_FIELDS[quantizer],
        }  # fmt: skip
        torch.manual_seed(seed)
        return VQGAN(VQGANConfig(**{**fields, **changes}))

    return make


def pictures(count: int = 8, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """(count, 3, height, width) in [-1, 1]: coloured squares on coloured grounds."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.rand(count, 2, 3, 1, 1, generator=generator) * 2 - 1
    pixels = colors[:, 0].expand(-1, -1, height, width).clone()
    corners = torch.randint(0, min(height, width) // 2, (count, 2), generator=generator).tolist()
    for picture, color, (top, left) in zip(pixels, colors[:, 1], corners, strict=True):
        picture[:, top : top + height // 2, left : left + width // 2] = color
    return pixels
