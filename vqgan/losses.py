"""What stage one minimises: pixels, edges, colours, LPIPS and a late hinge adversary (Esser et al., 2021).

The perceptual network and the discriminator are the references' own, `lpips` and taming-transformers.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan.model import VQGANOutput

VGG_FILE = "vgg16-397923af.pth"
COLOR_CELL = 8  # pixels of a side over which colours are pooled
LUMA = (0.299, 0.587, 0.114)


def edges(pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) -> differences of neighbours across and down."""
    return pixel_values[..., 1:] - pixel_values[..., :-1], pixel_values[..., 1:, :] - pixel_values[..., :-1, :]


def edge_loss(restored: Tensor, pixel_values: Tensor) -> Tensor:
    pairs = zip(edges(restored), edges(pixel_values), strict=True)
    return torch.stack([F.l1_loss(a, b) for a, b in pairs]).sum()


def color_loss(restored: Tensor, pixel_values: Tensor) -> Tensor:
    """Mean colours of cells, and the colour without its brightness: what L1 over pixels gives up first."""
    difference = restored - pixel_values
    weights = difference.new_tensor(LUMA).view(1, 3, 1, 1)
    chroma = difference - (difference * weights).sum(1, keepdim=True)
    return F.avg_pool2d(difference, COLOR_CELL).abs().mean() + chroma.abs().mean()


def load_lpips(vgg_weights: str = "") -> nn.Module:
    """LPIPS on VGG-16 in eval mode, frozen, with torchvision's VGG weights from a path or its cache.

    Raises ValueError that names the file when it is missing or is something else. Nothing is downloaded.
    """
    path = Path(vgg_weights) if vgg_weights else Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
    if not path.is_file():
        raise ValueError(
            f"LPIPS needs VGG-16 weights, and {path} is missing: put torchvision's {VGG_FILE} there, name another"
            " path in stage_one.losses.vgg_weights, or set stage_one.losses.perceptual=0"
        )
    import lpips

    model = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name, parameter in model.net.named_parameters():
            _, index, kind = name.split(".")  # slice3.10.weight is features.10.weight
            with torch.no_grad():
                parameter.copy_(state[f"features.{index}.{kind}"])
    except Exception as error:
        raise ValueError(f"{path} holds no VGG-16 weights of torchvision ({error}); get {VGG_FILE} again") from None
    return model.eval().requires_grad_(False)


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Ratio of the two losses' gradients at the last layer, in [0, 1e4], detached (Esser et al., equation 7)."""
    ours = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0].norm()
    theirs = torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0].norm()
    return (ours / (theirs + 1e-4)).clamp(0, 1e4).detach()


class VQGANLoss(nn.Module):
    """Weights of each term; a term of weight 0 is not built.

    The discriminator starts at `adversarial_start` of the run. For `adversarial_ramp` of the run it learns alone
    while its say over the decoder grows from nothing: an abrupt start ruins the reconstructions.
    """

    def __init__(
        self,
        l1: float = 1.0,
        l2: float = 1.0,
        edge: float = 1.0,
        color: float = 1.0,
        perceptual: float = 0.0,
        vgg_weights: str = "",
        adversarial: float = 0.0,
        adversarial_start: float = 0.75,
        adversarial_ramp: float = 0.1,
        discriminator_channels: int = 64,
        discriminator_layers: int = 3,
    ) -> None:
        super().__init__()
        self.weights = {"l1": l1, "l2": l2, "edge": edge, "color": color}
        self.perceptual, self.adversarial = perceptual, adversarial
        self.adversarial_start, self.adversarial_ramp = adversarial_start, adversarial_ramp
        self.lpips = load_lpips(vgg_weights) if perceptual else None
        self.discriminator: nn.Module | None = None
        if adversarial:
            from taming.modules.discriminator.model import NLayerDiscriminator, weights_init

            network = NLayerDiscriminator(3, discriminator_channels, discriminator_layers)
            self.discriminator = network.apply(weights_init)

    def forward(
        self, pixel_values: Tensor, output: VQGANOutput, *, progress: float, last_layer: Tensor
    ) -> dict[str, Tensor]:
        """Scalars: `loss` for the VQGAN, `discriminator_loss` once it has started, and the terms.

        `progress` in [0, 1] is the share of the run that is done.
        """
        restored = output.reconstruction
        terms = {
            "l1": F.l1_loss(restored, pixel_values),
            "l2": F.mse_loss(restored, pixel_values),
            "edge": edge_loss(restored, pixel_values),
            "color": color_loss(restored, pixel_values),
        }
        loss = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        if self.lpips is not None:
            terms["lpips"] = self.lpips(restored, pixel_values).mean()
            loss = loss + self.perceptual * terms["lpips"]
        terms["quantizer"] = output.quantizer_loss
        if self.discriminator is not None and progress >= self.adversarial_start:
            fake = -self.discriminator(restored).mean()
            share = min((progress - self.adversarial_start) / max(self.adversarial_ramp, 1e-9), 1.0)
            weight = share * self.adversarial * adaptive_weight(loss, fake, last_layer)
            real_logits, fake_logits = self.discriminator(pixel_values), self.discriminator(restored.detach())
            terms |= {"adversarial": fake, "discriminator_loss": hinge(real_logits, fake_logits)}
            loss = loss + weight * fake
        return {"loss": loss + output.quantizer_loss, **terms}
