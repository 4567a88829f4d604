"""The VQGAN: picture <-> grid of discrete codes (paper, section 4.1; Esser et al., 2021).

B batch, H W pixels, f pixels of a side a code, h = H / f, w = W / f, D codebook dimensions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vqgan.config import VQGANConfig
from vqgan.layers import ColorSkip, Decoder, Encoder
from vqgan.quantizers import CLASSES

WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
TRAINING_ONLY = ("quantizer.trainer.", "quantizer.rounding.")


@dataclass(frozen=True)
class VQGANOutput:
    """reconstruction (B, 3, H, W), unclamped; latents (B, D, h, w); codes (B, h, w) int64 or None; a scalar loss."""

    reconstruction: Tensor
    latents: Tensor
    codes: Tensor | None
    quantizer_loss: Tensor


class VQGAN(nn.Module):
    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        # Gumbel's logits are made from all features, so its 1x1 convolution keeps their number
        inner = config.latent_channels if config.quantizer == "gumbel" else config.codebook_dim
        self.quant_conv = nn.Conv2d(config.latent_channels, inner, 1)
        self.post_quant_conv = nn.Conv2d(config.codebook_dim, config.latent_channels, 1)
        self.quantizer = CLASSES[config.quantizer](config)
        self.color_skip = ColorSkip(config) if config.color_skip else None

    @property
    def last_layer(self) -> Tensor:
        """The weight on which the discriminator's gradient is balanced (taming's adaptive weight)."""
        return self.decoder.conv_out.weight

    def check_size(self, pixel_values: Tensor) -> None:
        factor = self.config.downsampling_factor
        for name, size in zip(("height", "width"), pixel_values.shape[-2:], strict=True):
            if size % factor:
                raise ValueError(f"image {name} {size} must be a multiple of {factor}; resize or crop the image")

    def encode_latents(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D, h, w) before quantisation; ValueError for a size off the grid."""
        self.check_size(pixel_values)
        latents = self.quant_conv(self.encoder(pixel_values))
        return latents if self.color_skip is None else self.color_skip.add_to_latents(latents, pixel_values)

    def decode_latents(self, z_q: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, 3, H, W), unclamped."""
        pixel_values = self.decoder(self.post_quant_conv(z_q))
        return pixel_values if self.color_skip is None else self.color_skip.add_to_pixels(pixel_values, z_q)

    def encode(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> codes (B, h, w) int64."""
        return self.quantizer.nearest(self.encode_latents(pixel_values))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) int64 in [0, codebook_size) -> (B, 3, H, W) in [-1, 1]."""
        return self.decode_latents(self.quantizer.lookup(codes)).clamp(-1, 1)

    def forward(self, pixel_values: Tensor, quantize: bool = True) -> VQGANOutput:
        """One training pass over (B, 3, H, W). `quantize=False` trains a plain autoencoder (warm-up)."""
        latents = self.encode_latents(pixel_values)
        if not quantize:
            plain = self.decode_latents(self.quantizer.normalize(latents))
            return VQGANOutput(plain, latents, None, latents.new_zeros(()))
        z_q, codes, loss = self.quantizer(latents)
        return VQGANOutput(self.decode_latents(z_q), latents, codes, loss)

    def save_pretrained(self, directory: str | Path, dtype: torch.dtype | None = None) -> None:
        """Writes config.json and the weights of inference, as `dtype` when given; each file all or nothing."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: (value.to(dtype) if dtype is not None and value.is_floating_point() else value).contiguous()
            for name, value in self.state_dict().items()
            if not name.startswith(TRAINING_ONLY)
        }
        temporary = folder / f".{WEIGHTS_NAME}.{os.getpid()}"
        try:
            save_file(weights, temporary)
            temporary.replace(folder / WEIGHTS_NAME)
            temporary.write_text(self.config.to_json(), "utf-8")
            temporary.replace(folder / "config.json")
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> VQGAN:
        """Reads a folder that save_pretrained wrote; float32, in eval mode.

        Raises ValueError, naming the file, when it is missing, truncated or of another model.
        """
        folder = Path(directory)
        model = cls(VQGANConfig.from_json(folder / "config.json"))
        path = folder / WEIGHTS_NAME
        try:
            weights = load_file(path)
        except FileNotFoundError:
            raise ValueError(f"{path} is missing; copy the whole folder") from None
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read ({error}); it is truncated or foreign, copy it again") from None
        own = {k: v for k, v in model.state_dict(keep_vars=True).items() if not k.startswith(TRAINING_ONLY)}
        wrong = sorted(
            k for k in {*own, *weights} if k not in own or k not in weights or own[k].shape != weights[k].shape
        )
        if wrong:
            raise ValueError(f"{path} does not fit config.json: {len(wrong)} tensors differ, first {wrong[0]}")
        for name, value in own.items():
            value.data.copy_(weights[name])
        return model.eval()
