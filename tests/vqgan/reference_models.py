"""The published models that imports are compared with.

taming's are its own modules (PyPI release), put together as its VQModel is, whose own file no longer imports.
LlamaGen's is written here from its description: taming's blocks under other names, attention at the last level
only, codes on the unit sphere.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def scramble(model: nn.Module, seed: int = 0) -> None:
    """Random weights of a trained model's size; norms, which start as ones and zeros, among them."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "norm" in name or "embed" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(0.3 * noise) if "norm" in name else parameter.data.copy_(noise)
        if name.startswith("quant_conv"):
            parameter.data.mul_(8)  # latents as far apart as the codes, so that many codes are used
    model.eval().requires_grad_(False)


class TamingVQ(nn.Module):
    def __init__(self, ddconfig: dict[str, Any], n_embed: int, embed_dim: int) -> None:
        super().__init__()
        from taming.modules.diffusionmodules.model import Decoder, Encoder
        from taming.modules.vqvae.quantize import VectorQuantizer

        self.encoder, self.decoder = Encoder(**ddconfig), Decoder(**ddconfig)
        self.quantize: nn.Module = VectorQuantizer(n_embed, embed_dim, beta=0.25)
        self.quant_conv = nn.Conv2d(ddconfig["z_channels"], embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, ddconfig["z_channels"], 1)

    def latents(self, pixels: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(pixels))

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latents and codes (B, h, w)."""
        z_q, _, (_, _, codes) = self.quantize(self.latents(pixels))
        return z_q, codes.view(z_q.shape[0], *z_q.shape[2:])

    def decode(self, z_q: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z_q))


class GumbelLookup(nn.Module):
    """taming's GumbelQuantize without its noise; it is not in the PyPI release."""

    def __init__(self, hidden: int, dim: int, count: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(hidden, count, 1)
        self.embed = nn.Embedding(count, dim)

    def forward(self, z: Tensor) -> Any:
        codes = self.proj(z).argmax(1)
        one_hot = F.one_hot(codes, self.embed.num_embeddings).float()
        return torch.einsum("bhwn,nd->bdhw", one_hot, self.embed.weight), None, (None, None, codes)


class TamingGumbel(TamingVQ):
    def __init__(self, ddconfig: dict[str, Any], n_embed: int, embed_dim: int) -> None:
        super().__init__(ddconfig, n_embed, embed_dim)
        self.quantize = GumbelLookup(ddconfig["z_channels"], embed_dim, n_embed)


class Residual(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, before, 1e-6), nn.GroupNorm(32, after, 1e-6)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)
        if before != after:
            self.nin_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        h = self.norm2(self.conv1(h * h.sigmoid()))
        h = self.conv2(h * h.sigmoid())
        return h + (self.nin_shortcut(x) if "nin_shortcut" in self._modules else x)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, width, 1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        affinity = torch.einsum("bchw,bcij->bhwij", self.q(h), self.k(h)) / x.shape[1] ** 0.5
        shares = affinity.flatten(3).softmax(-1).view_as(affinity)
        return x + self.proj_out(torch.einsum("bhwij,bcij->bchw", shares, self.v(h)))


class Resampling(nn.Module):
    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(width, width, 3, 1 if up else 2, 1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            return self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Half(nn.Module):
    """LlamaGen's encoder, or its decoder: levels, in the order in which they run, and a middle at the coarse end."""

    def __init__(self, ends: tuple[int, int], widths: list[int], first: int, blocks: int, up: bool) -> None:
        super().__init__()
        self.up = up
        coarse = widths[-1]
        width = coarse if up else first
        self.conv_in = nn.Conv2d(ends[0], width, 3, 1, 1)
        self.conv_blocks = nn.ModuleList()
        for i in sorted(range(len(widths)), reverse=up):
            level = nn.Module()
            level.res, level.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(blocks):
                level.res.append(Residual(width, widths[i]))
                width = widths[i]
                if i == len(widths) - 1:
                    level.attn.append(Attention(width))
            if i != (0 if up else len(widths) - 1):
                level.add_module("upsample" if up else "downsample", Resampling(width, up))
            self.conv_blocks.append(level)
        self.mid = nn.ModuleList([Residual(coarse, coarse), Attention(coarse), Residual(coarse, coarse)])
        self.norm_out, self.conv_out = nn.GroupNorm(32, width, 1e-6), nn.Conv2d(width, ends[1], 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        steps = []
        for level in self.conv_blocks:
            for j, block in enumerate(level.res):
                steps += [block, *level.attn[j : j + 1]]
            steps += [module for name, module in level.named_children() if name.endswith("sample")]
        for step in [*self.mid, *steps] if self.up else [*steps, *self.mid]:
            x = step(x)
        x = self.norm_out(x)
        return self.conv_out(x * x.sigmoid())


class LlamaGenVQ(nn.Module):
    def __init__(self, multipliers: list[int], first: int, latent: int, count: int, dim: int, blocks: int = 2) -> None:
        super().__init__()
        widths = [first * multiplier for multiplier in multipliers]
        self.encoder = Half((3, latent), widths, first, blocks, up=False)
        self.decoder = Half((latent, 3), widths, first, blocks + 1, up=True)
        self.quantize = nn.Module()
        self.quantize.embedding = nn.Embedding(count, dim)
        self.quantize.register_buffer("codebook_used", torch.zeros(256))
        self.quant_conv, self.post_quant_conv = nn.Conv2d(latent, dim, 1), nn.Conv2d(dim, latent, 1)

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latents and codes (B, h, w): the nearest code when both sides have length 1."""
        z = F.normalize(self.quant_conv(self.encoder(pixels)), dim=1)
        codebook = F.normalize(self.quantize.embedding.weight, dim=1)
        codes = torch.cdist(z.permute(0, 2, 3, 1), codebook[None]).argmin(-1)
        return codebook[codes].permute(0, 3, 1, 2), codes

    def decode(self, z_q: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z_q))
