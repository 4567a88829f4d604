"""AdamW for vectors, embeddings and heads; Muon for weight matrices and convolutions, in one optimiser.

Muon after Jordan et al., "Muon: an optimizer for hidden layers" (2024). torch.optim.Muon takes no convolutions and
orthogonalises in bf16, which is a hundred times slower than float32 on CPUs without bf16 units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(updates: Tensor, steps: int = 5) -> Tensor:
    """(N, rows, columns) -> same shape, singular values near 1, by a quintic Newton-Schulz iteration.

    Each step multiplies by a polynomial of the Gram matrix, so the small side alone is iterated: 2.6 times less
    work at 128 x 1152 than multiplying the matrix itself each time, equal but for rounding.
    """
    a, b, c = NEWTON_SCHULZ
    x = updates / (updates.norm(dim=(1, 2), keepdim=True) + 1e-7)
    transposed = x.shape[1] > x.shape[2]
    if transposed:
        x = x.transpose(1, 2)
    gram = x @ x.transpose(1, 2)
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    product = identity.expand_as(gram)
    for i in range(steps):
        factor = torch.baddbmm(b * gram, gram, gram, alpha=c).add_(identity, alpha=a)
        product = factor @ product
        if i + 1 < steps:
            gram = factor @ gram @ factor
    x = product @ x
    return x.transpose(1, 2) if transposed else x


class MuonAdamW(torch.optim.Optimizer):
    """Groups marked `muon=True` get orthogonalised momentum; the rest are AdamW's."""

    def __init__(self, groups: list[dict], momentum: float = 0.95, betas: tuple[float, float] = (0.9, 0.95)) -> None:
        super().__init__(groups, {"lr": 1e-3, "weight_decay": 0.0, "muon": False, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                (self._muon if group["muon"] else self._adamw)(parameters, group)

    def _muon(self, parameters: list[Tensor], group: dict) -> None:
        by_shape: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for p in parameters:
            by_shape[p.shape[0], p[0].numel()].append(p)
        for (rows, columns), same in by_shape.items():
            updates = []
            for p in same:
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                assert p.grad is not None
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                updates.append(p.grad.lerp(state["momentum"], group["momentum"]).reshape(rows, columns))
            scale = max(1.0, rows / columns) ** 0.5
            for p, update in zip(same, orthogonalize(torch.stack(updates)), strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.reshape(p.shape), alpha=-group["lr"] * scale)

    def _adamw(self, parameters: list[Tensor], group: dict) -> None:
        for p in parameters:
            if "step" not in self.state[p]:
                self.state[p].update(step=torch.tensor(0.0), mean=torch.zeros_like(p), square=torch.zeros_like(p))
        beta1, beta2 = group["betas"]
        adamw(
            parameters,
            [p.grad for p in parameters if p.grad is not None],
            [self.state[p]["mean"] for p in parameters],
            [self.state[p]["square"] for p in parameters],
            [],
            [self.state[p]["step"] for p in parameters],
            amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=group["weight_decay"],
            eps=1e-8, maximize=False,
        )  # fmt: skip


# Parameters whose rows are words, codes or pixels, not directions in a hidden space: Muon does not suit them.
OUTER = ("embed", "head", "conv_in", "conv_out", "codebook", "classif", "quant", "skip")


def build_optimizer(
    named: Iterable[tuple[str, nn.Parameter]], learning_rate: float, muon_learning_rate: float, weight_decay: float
) -> MuonAdamW:
    """Splits parameters by role: inner matrices and convolutions to Muon, embeddings, heads and the rest to AdamW.

    Vectors (biases, norms) do not decay. With a `muon_learning_rate` of 0 everything goes to AdamW.
    """
    vectors: list[nn.Parameter] = []
    outer: list[nn.Parameter] = []
    inner: list[nn.Parameter] = []
    for name, p in named:
        if p.ndim < 2:
            vectors.append(p)
        elif muon_learning_rate > 0 and not any(word in name for word in OUTER):
            inner.append(p)
        else:
            outer.append(p)
    groups = [
        {"params": vectors, "lr": learning_rate, "weight_decay": 0.0},
        {"params": outer, "lr": learning_rate, "weight_decay": weight_decay},
        {"params": inner, "lr": muon_learning_rate, "weight_decay": weight_decay, "muon": True},
    ]
    return MuonAdamW([group for group in groups if group["params"]])
