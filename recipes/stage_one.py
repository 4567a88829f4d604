"""Stage one: the VQGAN task (design.md: autoencoder warm-up, k-means codes, colour and edge terms, late adversary)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from recipes.config import StageOneConfig, build
from recipes.data import PictureStore
from recipes.pictures import to_sheet
from vqgan import VQGAN, VQGANConfig
from vqgan.losses import VQGANLoss

BLANK = 0.985  # what counts as white, in [-1, 1]: two steps of 256 off


class StageOne:
    """Reconstructs the pictures of a store; see recipes.loop.Task."""

    name = "stage one"

    def __init__(self, config: StageOneConfig, train: PictureStore, validation: PictureStore) -> None:
        self.config, self.store, self.validation = config, train, validation
        self.num_samples = len(train)
        torch.manual_seed(config.loop.seed)
        fields = {"sample_size": train.images.shape[1], **config.model}
        self.model: VQGAN = VQGAN(build(VQGANConfig, fields, "stage_one.model"))
        self.model.quantizer.make_trainer()
        self.model.to(memory_format=torch.channels_last)
        self.loss: VQGANLoss = build(VQGANLoss, config.losses, "stage_one.losses")

    def _pixels(self, store: PictureStore, indices: Tensor) -> Tensor:
        return store.pixels(indices).to(self.model.last_layer.device, memory_format=torch.channels_last)

    def trained(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        sets = {"loss": list(self.model.named_parameters())}
        discriminator = list(self.loss.named_parameters())
        return {**sets, "discriminator_loss": discriminator} if discriminator else sets

    def losses(self, indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        pixels = self._pixels(self.store, indices)
        quantize = progress >= self.config.quantizer_warmup_share
        if quantize and not self.model.quantizer.initialized:
            self._start_codebook(generator)
        output = self.model(pixels, quantize=quantize)
        losses = self.loss(pixels, output, progress=progress, last_layer=self.model.last_layer)
        if self.config.blank_weight:
            losses["blank"] = self._blank_loss(pixels, output.latents)
            losses["loss"] = losses["loss"] + self.config.blank_weight * losses["blank"]
        return losses

    def _blank_loss(self, pixels: Tensor, latents: Tensor) -> Tensor:
        """Distance of white cells' latents from that of an empty picture.

        Else white cells near a product carry a part of it: half of all codes then stand for white, and stage two
        has to guess among them.
        """
        factor = self.model.config.downsampling_factor
        darkest = -F.max_pool2d(-pixels.amin(1, keepdim=True), factor)
        white = (darkest > BLANK).to(latents.dtype)
        with torch.no_grad():
            empty = self.model.encode_latents(torch.ones_like(pixels[:1, :, : 8 * factor, : 8 * factor]))
            target = self.model.quantizer.normalize(empty)[:, :, 3:5, 3:5].mean((2, 3), keepdim=True)
        distance = (self.model.quantizer.normalize(latents) - target).square().sum(1, keepdim=True)
        return (distance * white).sum() / white.sum().clamp(min=1)

    @torch.no_grad()
    def _start_codebook(self, generator: torch.Generator) -> None:
        chosen = torch.randperm(self.num_samples, generator=generator)[:384]
        latents = [self.model.encode_latents(self._pixels(self.store, part)) for part in chosen.split(32)]
        self.model.quantizer.initialize(torch.cat(latents), generator)

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert isinstance(model, VQGAN)
        if not model.quantizer.initialized:
            return {}
        squares, codes = [], []
        for part in torch.arange(len(self.validation)).split(32):
            pixels = self._pixels(self.validation, part)
            codes.append(model.encode(pixels))
            squares.append((model.decode(codes[-1]) - pixels).square().mean(dim=(1, 2, 3)))
        psnr = (10 * torch.log10(4 / torch.cat(squares))).mean()
        counts = torch.cat(codes).flatten().bincount(minlength=model.config.codebook_size).float()
        shares = counts[counts > 0] / counts.sum()
        return {
            "psnr": float(psnr),
            "codes_used": float((counts > 0).sum()),
            "code_perplexity": math.exp(float(-(shares * shares.log()).sum())),
        }

    def picture(self, model: nn.Module) -> Image.Image:
        assert isinstance(model, VQGAN)
        pixels = self._pixels(self.validation, torch.arange(min(16, len(self.validation))))
        output = model(pixels, quantize=bool(model.quantizer.initialized)).reconstruction
        return to_sheet(torch.cat([pixels, output]), columns=len(pixels))


@torch.no_grad()
def encode_store(model: VQGAN, store: PictureStore) -> Tensor:
    """The codes of every picture of a store: (N, h, w) int32."""
    from rich.progress import track

    device = model.last_layer.device
    parts = torch.arange(len(store)).split(64)
    codes = [model.encode(store.pixels(part).to(device)).cpu() for part in track(parts, "encoding pictures")]
    return torch.cat(codes).to(torch.int32)
