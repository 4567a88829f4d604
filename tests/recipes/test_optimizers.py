"""Muon's half orthogonalises, AdamW's half is AdamW, and parameters go where their role says."""

import copy

import pytest
import torch
from torch import Tensor, nn

from recipes.optimizers import MuonAdamW, build_optimizer, orthogonalize


@pytest.mark.parametrize("shape", [(3, 24, 36), (2, 16, 64), (2, 64, 16)])
def test_orthogonalize_brings_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    updates = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    values = torch.linalg.svdvals(orthogonalize(updates))
    assert values.min() > 0.4 and values.max() < 1.3
    assert torch.linalg.svdvals(updates).max() < 0.1


def test_orthogonalize_keeps_the_singular_directions() -> None:
    update = torch.randn(1, 12, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, _, right = torch.linalg.svd(update[0], full_matrices=False)
    core = left.T @ orthogonalize(update)[0] @ right.T
    assert (core - core.diagonal().diag()).abs().max() < 1e-6


def test_orthogonalize_of_nothing_is_nothing() -> None:
    assert orthogonalize(torch.zeros(1, 4, 4)).abs().max() == 0


def toy() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.LayerNorm(10), nn.GELU(), nn.Linear(10, 3))
    return model, torch.randn(64, 6), torch.randn(64, 3)


def test_the_adamw_half_equals_torch_adamw() -> None:
    ours, x, y = toy()
    theirs = copy.deepcopy(ours)
    optimizer = build_optimizer(ours.named_parameters(), 3e-3, 0.0, 0.1)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    for _ in range(30):
        for model, stepper in ((ours, optimizer), (theirs, reference)):
            nn.functional.mse_loss(model(x), y).backward()
            stepper.step()
            stepper.zero_grad()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_muon_on_a_square_matrix_equals_torch_muon_up_to_its_bf16() -> None:
    ours, theirs = (nn.Parameter(torch.eye(16)) for _ in range(2))
    group = {"params": [ours], "lr": 0.02, "weight_decay": 0.1, "muon": True}
    optimizer, reference = MuonAdamW([group]), torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        gradient = torch.randn(16, 16, generator=generator)
        for parameter, stepper in ((ours, optimizer), (theirs, reference)):
            parameter.grad = gradient.clone()
            stepper.step()
    assert (ours - torch.eye(16)).abs().max() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3)


def test_muon_learns_with_convolutions_in_channels_last() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Conv2d(8, 3, 3)).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(model.named_parameters(), 1e-2, 0.02, 0.0)
    x = torch.randn(4, 3, 12, 12)
    losses = []
    for _ in range(40):
        loss = nn.functional.mse_loss(model(x), x[..., 2:-2, 2:-2])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_parameters_are_split_by_role() -> None:
    names = {
        "word_embedding.weight": (8, 4), "encoder.conv_in.weight": (4, 3, 3, 3), "blocks.0.attention.weight": (4, 4),
        "blocks.0.attention.bias": (4,), "norm.weight": (4,), "decoder.mid.conv1.weight": (4, 4, 3, 3),
        "quant_conv.weight": (2, 4, 1, 1), "quantizer.codebook": (9, 2),
    }  # fmt: skip
    named = [(name, nn.Parameter(torch.zeros(shape))) for name, shape in names.items()]
    by_id = {id(parameter): name for name, parameter in named}
    vectors, outer, inner = (
        ({by_id[id(p)] for p in group["params"]}, group["lr"], group["weight_decay"], group["muon"])
        for group in build_optimizer(named, 1e-3, 0.02, 0.1).param_groups
    )
    assert vectors == ({"blocks.0.attention.bias", "norm.weight"}, 1e-3, 0.0, False)
    assert outer[0] == {"word_embedding.weight", "encoder.conv_in.weight", "quant_conv.weight", "quantizer.codebook"}
    assert outer[1:] == (1e-3, 0.1, False)
    assert inner == ({"blocks.0.attention.weight", "decoder.mid.conv1.weight"}, 0.02, 0.1, True)


def test_state_survives_saving() -> None:
    model, x, y = toy()
    optimizer = build_optimizer(model.named_parameters(), 1e-2, 0.02, 0.1)

    def step() -> None:
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    step()
    after = [p.detach().clone() for p in model.parameters()]
    model.load_state_dict(weights)
    optimizer = build_optimizer(model.named_parameters(), 1e-2, 0.02, 0.1)
    optimizer.load_state_dict(state)
    step()
    assert all(torch.equal(a, b) for a, b in zip(after, model.parameters(), strict=True))
