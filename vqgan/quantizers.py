"""Vector quantisers: latents (B, D, h, w) -> the nearest of K codes of D dimensions.

All share `codebook` (K, D), `nearest`, `lookup`, `normalize`, `initialized` and `initialize`. The trainer of
the moving averages is vector-quantize-pytorch's, built for training only; inference needs the codebook alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan.config import VQGANConfig


class VectorQuantizer(nn.Module):
    """taming's quantiser: Euclidean distance, a learned codebook, straight-through gradients.

    commitment_weight is on the commitment term; taming's first release has it on the other one.
    """

    codebook: Tensor

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        bound = 1.0 / config.codebook_size
        self._make_codebook(torch.empty(config.codebook_size, config.codebook_dim).uniform_(-bound, bound))

    def _make_codebook(self, values: Tensor) -> None:
        self.codebook = nn.Parameter(values)

    @property
    def initialized(self) -> bool:
        return True

    def make_trainer(self) -> None:
        """Builds what only training needs; call it before the model is copied or a run is resumed."""

    def initialize(self, latents: Tensor, generator: torch.Generator) -> None:
        """Starts the codebook from latents (N, D, h, w) of real pictures, in the variants that do so."""

    def normalize(self, latents: Tensor) -> Tensor:
        """The form in which latents are compared with codes and given to the decoder: unchanged here."""
        return latents

    def scores(self, flat: Tensor) -> Tensor:
        """(N, D) -> (N, K), higher is nearer: the negated squared distance, less what all codes share."""
        return 2 * flat @ self.codebook.t() - self.codebook.square().sum(1)

    def nearest(self, latents: Tensor) -> Tensor:
        """(B, D, h, w) -> codes (B, h, w) int64."""
        batch, _, height, width = latents.shape
        flat = self.normalize(latents).permute(0, 2, 3, 1).flatten(0, 2)
        codes = torch.cat([self.scores(part).argmax(1) for part in flat.split(16384)])
        return codes.view(batch, height, width)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) -> z_q (B, D, h, w)."""
        return F.embedding(codes, self.codebook).permute(0, 3, 1, 2)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, h, w) -> z_q with straight-through gradients, codes (B, h, w), loss (scalar)."""
        codes = self.nearest(latents.detach())
        z_q = self.lookup(codes)
        commitment = F.mse_loss(latents, z_q.detach())
        loss = F.mse_loss(z_q, latents.detach()) + self.config.commitment_weight * commitment
        return latents + (z_q - latents).detach(), codes, loss


class MovingAverageQuantizer(VectorQuantizer):
    """Codes are moving averages of what they stand for; k-means start, dead codes start again."""

    cosine = False
    trained: Tensor

    def _make_codebook(self, values: Tensor) -> None:
        self.register_buffer("codebook", values)
        self.register_buffer("trained", torch.tensor(False))
        self.trainer: Any = None

    @property
    def initialized(self) -> bool:
        return bool(self.trained)

    def make_trainer(self) -> None:
        from vector_quantize_pytorch import VectorQuantize

        self.trainer = VectorQuantize(
            dim=self.config.codebook_dim,
            codebook_size=self.config.codebook_size,
            decay=self.config.codebook_decay,
            use_cosine_sim=self.cosine,
            kmeans_init=not self.initialized,
            threshold_ema_dead_code=self.config.dead_code_share,
            commitment_weight=self.config.commitment_weight,
            accept_image_fmap=True,
            rotation_trick=False,
        ).to(self.codebook.device)
        if self.initialized:
            book = self.trainer._codebook
            book.embed.data.copy_(self.codebook[None])
            book.embed_avg.data.copy_(self.codebook[None])

    def initialize(self, latents: Tensor, generator: torch.Generator) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(1 << 31, (1,), generator=generator)))
            self._train_step(latents)

    def _train_step(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.trainer is None:
            self.make_trainer()
        self.trainer.train()
        book = self.trainer._codebook
        mean_use = latents.numel() / self.codebook.numel()
        book.threshold_ema_dead_code = book.reset_cluster_size = self.config.dead_code_share * mean_use
        z_q, codes, loss = self.trainer(latents)
        self.codebook.copy_(book.embed[0])
        self.trained.fill_(True)
        return z_q, codes, loss.sum()

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.training and torch.is_grad_enabled():
            return self._train_step(latents)
        codes = self.nearest(latents)
        return self.lookup(codes), codes, latents.new_zeros(())


class CosineQuantizer(MovingAverageQuantizer):
    """Codes and latents on the unit sphere (ViT-VQGAN, LlamaGen)."""

    cosine = True

    def normalize(self, latents: Tensor) -> Tensor:
        return F.normalize(latents, dim=1)

    def scores(self, flat: Tensor) -> Tensor:
        return flat @ F.normalize(self.codebook, dim=1).t()

    def lookup(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, F.normalize(self.codebook, dim=1)).permute(0, 3, 1, 2)


class GumbelQuantizer(VectorQuantizer):
    """taming's GumbelVQ: codes drawn with Gumbel noise in training (straight-through), the likeliest otherwise.

    `proj` maps latent_channels features to one logit a code.
    """

    temperature: float = 1.0
    kl_weight: float = 5e-4

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__(config)
        nn.init.normal_(self.codebook)
        self.proj = nn.Conv2d(config.latent_channels, config.codebook_size, 1)

    def mix(self, shares: Tensor) -> Tensor:
        """Shares of the codes (B, K, h, w) -> the mean code (B, D, h, w)."""
        return torch.einsum("bkhw,kd->bdhw", shares, self.codebook)

    def normalize(self, latents: Tensor) -> Tensor:
        return self.mix(self.proj(latents).softmax(1))

    def nearest(self, latents: Tensor) -> Tensor:
        return self.proj(latents).argmax(1)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.proj(latents)
        codes = logits.argmax(1)
        if self.training:
            z_q = self.mix(F.gumbel_softmax(logits, self.temperature, hard=True, dim=1))
        else:
            z_q = self.lookup(codes)
        logs = F.log_softmax(logits, dim=1)
        divergence = (logs.exp() * (logs + math.log(self.config.codebook_size))).sum(1).mean()
        return z_q, codes, self.kl_weight * divergence


class FSQuantizer(VectorQuantizer):
    """Finite scalar quantisation (Mentzer et al., 2023): each dimension rounds to one of its levels."""

    def _make_codebook(self, values: Tensor) -> None:
        from vector_quantize_pytorch import FSQ

        self.rounding = FSQ(list(self.config.fsq_levels), channel_first=True)
        self.register_buffer("codebook", self.rounding.implicit_codebook.clone())

    def normalize(self, latents: Tensor) -> Tensor:
        return latents.tanh()

    def nearest(self, latents: Tensor) -> Tensor:
        return self.rounding(latents)[1].long()

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z_q, codes = self.rounding(latents)
        return z_q, codes.long(), latents.new_zeros(())


CLASSES: dict[str, type[VectorQuantizer]] = {
    "vector": VectorQuantizer,
    "ema": MovingAverageQuantizer,
    "cosine": CosineQuantizer,
    "gumbel": GumbelQuantizer,
    "fsq": FSQuantizer,
}
