"""Encoder and decoder of taming-transformers' VQGAN (Esser et al., 2021), with its parameter names.

B batch, C channels, H W pixels of the level. Every block is pre-norm: GroupNorm(32), swish, 3x3 convolution.
Deviations, off by default: no attention in the middle, and pixel (un)shuffle at the ends, so that no
convolution runs at full resolution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vqgan.config import VQGANConfig


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """Starts as the identity (its last convolution is zero), which trains faster from nothing."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = _norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        if self.conv2.bias is not None:
            nn.init.zeros_(self.conv2.bias)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return (x if self.nin_shortcut is None else self.nin_shortcut(x)) + h


class AttnBlock(nn.Module):
    """Self-attention over the H W positions, one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2).unsqueeze(1) for f in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v).squeeze(1)
        return x + self.proj_out(mixed.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Blocks of one resolution, each with attention where the resolution asks for it, then a change of size."""

    def __init__(self, channels: list[int], attention: bool, dropout: float) -> None:
        super().__init__()
        self.downsample: Downsample | None = None
        self.upsample: Upsample | None = None
        pairs = list(zip(channels, channels[1:], strict=False))
        self.block = nn.ModuleList(ResnetBlock(a, b, dropout) for a, b in pairs)
        self.attn = nn.ModuleList(AttnBlock(b) for _, b in pairs if attention)

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[i](x)
        resample = self.downsample or self.upsample
        return x if resample is None else resample(x)


class Middle(nn.Module):
    def __init__(self, channels: int, attention: bool, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, dropout)
        self.attn_1 = AttnBlock(channels) if attention else nn.Identity()
        self.block_2 = ResnetBlock(channels, channels, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


def _side(config: VQGANConfig, level: int) -> int:
    return config.sample_size // config.patch_size // 2**level


class Encoder(nn.Module):
    """(B, in_channels, H, W) -> (B, latent_channels, H / f, W / f)."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in config.channel_multipliers]
        self.patch_size = config.patch_size
        self.conv_in = nn.Conv2d(config.in_channels * config.patch_size**2, config.base_channels, 3, padding=1)
        self.down = nn.ModuleList()
        previous = config.base_channels
        for i, width in enumerate(widths):
            attention = _side(config, i) in config.attention_resolutions
            level = Level([previous] + [width] * config.num_res_blocks, attention, config.dropout)
            if i < len(widths) - 1:
                level.downsample = Downsample(width)
            self.down.append(level)
            previous = width
        self.mid = Middle(previous, config.mid_attention, config.dropout)
        self.norm_out = _norm(previous)
        self.conv_out = nn.Conv2d(previous, config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(F.pixel_unshuffle(x, self.patch_size) if self.patch_size > 1 else x)
        for level in self.down:
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class Decoder(nn.Module):
    """(B, latent_channels, h, w) -> (B, out_channels, h f, w f); `up[0]` is the finest level, run last."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in config.channel_multipliers]
        self.patch_size = config.patch_size
        previous = widths[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, previous, 3, padding=1)
        self.mid = Middle(previous, config.mid_attention, config.dropout)
        levels: list[nn.Module] = []
        for i, width in reversed(list(enumerate(widths))):
            attention = _side(config, i) in config.attention_resolutions
            level = Level([previous] + [width] * (config.num_res_blocks + 1), attention, config.dropout)
            if i > 0:
                level.upsample = Upsample(width)
            levels.insert(0, level)
            previous = width
        self.up = nn.ModuleList(levels)
        self.norm_out = _norm(previous)
        self.conv_out = nn.Conv2d(previous, config.out_channels * config.patch_size**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        h = self.conv_out(F.silu(self.norm_out(h)))
        return F.pixel_shuffle(h, self.patch_size) if self.patch_size > 1 else h


class ColorSkip(nn.Module):
    """Mean colour of each cell into the latent, and a linear colour out of the code."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.factor = config.downsampling_factor
        self.into = nn.Conv2d(config.in_channels, config.codebook_dim, 1)
        self.out = nn.Conv2d(config.codebook_dim, config.out_channels, 1)

    def add_to_latents(self, latents: Tensor, pixel_values: Tensor) -> Tensor:
        return latents + self.into(F.avg_pool2d(pixel_values, self.factor))

    def add_to_pixels(self, pixel_values: Tensor, z_q: Tensor) -> Tensor:
        return pixel_values + F.interpolate(self.out(z_q), pixel_values.shape[-2:], mode="bilinear")
