"""A real task of a hundred parameters: a line through noise, with dropout, an adversary and random batches."""

import torch
from PIL import Image
from torch import Tensor, nn


class ToyTask:
    """Fits y = x W; the adversary learns the model's error, so two losses and two modules are trained."""

    name = "toy"
    num_samples = 50

    def __init__(self, scale: float = 1.0, width: int = 8) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(self.num_samples, 6, generator=generator)
        self.y = scale * self.x @ torch.randn(6, 2, generator=generator)
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Dropout(0.1), nn.Linear(width, 2))
        self.adversary = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.num_validations = 0

    def trained(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        return {
            "loss": list(self.model.named_parameters()),
            "adversary_loss": list(self.adversary.named_parameters()),
        }

    def losses(self, indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        device = self.model[0].weight.device
        noise = 0.01 * torch.randn(len(indices), 6, generator=generator)
        output = self.model((self.x[indices] + noise).to(device))
        error = (output - self.y[indices].to(device)).square()
        losses = {"loss": error.mean(), "largest": error.max()}
        if progress >= 0.5:
            guess = self.adversary(output.detach())
            losses["adversary_loss"] = (guess - error.detach().mean(1, keepdim=True)).square().mean()
            losses["loss"] = losses["loss"] + 0.01 * self.adversary(output).mean()
        return losses

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        self.num_validations += 1
        output = model(self.x.to(self.model[0].weight.device)).cpu()
        return {"validation_loss": float((output - self.y).square().mean()), "noise": float(torch.rand(1))}

    def picture(self, model: nn.Module) -> Image.Image | None:
        return Image.new("RGB", (4, 4))
