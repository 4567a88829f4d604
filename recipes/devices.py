"""Where and in which precision a recipe runs, chosen once by each training loop."""

from __future__ import annotations

import torch
from torch import nn


def choose_device() -> torch.device:
    """The first GPU if torch sees one (hide it with CUDA_VISIBLE_DEVICES=), else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16; where it does not, bf16 is up to 100 times slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context of a forward pass; `precision` is auto, fp32 or bf16; auto takes bf16 where it is fast."""
    enabled = has_fast_bf16(device) if precision == "auto" else precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def modules_of(task: object) -> dict[str, nn.Module]:
    """The modules that a task holds as attributes: its model, and perhaps losses and frozen parts."""
    return {name: value for name, value in vars(task).items() if isinstance(value, nn.Module)}
