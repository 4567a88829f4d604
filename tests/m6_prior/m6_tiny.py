"""A tiny M6 with weights large enough that every input matters."""

from __future__ import annotations

import torch
from torch import Tensor

from m6_prior import M6Config, M6Model

CLS, SEP = 2, 3


def tiny_config(**changes: object) -> M6Config:
    sizes: dict = {"vocab_size": 40, "codebook_size": 24, "code_height": 4, "code_width": 5, "hidden_size": 32}
    return M6Config(**{**sizes, "num_layers": 2, "num_heads": 2, "max_text_length": 12, **changes})


def tiny_model(seed: int = 0, **changes: object) -> M6Model:
    torch.manual_seed(seed)
    model = M6Model(tiny_config(**changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    return model.eval()


def make_texts(*lengths: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random texts of so many words between [CLS] and [SEP], padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    rows = [[CLS, *torch.randint(6, 40, (n,), generator=generator).tolist(), SEP] for n in lengths]
    longest = max(map(len, rows))
    input_ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return input_ids, torch.arange(longest) < torch.tensor([[len(row)] for row in rows])


def make_codes(batch: int, count: int = 20, seed: int = 2) -> Tensor:
    return torch.randint(0, 24, (batch, count), generator=torch.Generator().manual_seed(seed))
