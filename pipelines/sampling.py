"""How codes are drawn: the settings, and a source of chance for each picture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch

from m6_prior.generation import Sampling

DEFAULT_TOP_K = 64
MAX_SEED = (1 << 63) - 1


@dataclass(frozen=True)
class SamplingDefaults:
    """What a call uses where it does not say otherwise."""

    top_k: int = DEFAULT_TOP_K  # draw from so many of the likeliest codes
    top_p: float = 1.0  # of these, from the likeliest that make up this share of the probability
    temperature: float = 1.0  # above 1 more varied, below 1 safer
    guidance_scale: float = 1.0  # above 1 the words count more; 1 is the plain conditional, at half the cost

    def check(self, codebook_size: int) -> None:
        """Raises ValueError for a value that cannot be used with a codebook of this size."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} {value!r} must be a number")
        Sampling(**asdict(self)).check(codebook_size)


def make_generators(
    count: int, generator: torch.Generator | list[torch.Generator] | None, seed: int | None
) -> list[torch.Generator]:
    """One generator a picture; see TextToImagePipeline.__call__.

    Raises ValueError for a list of another length, for two sources at once and for a seed out of range.
    """
    if generator is not None and seed is not None:
        raise ValueError(f"seed {seed} and a generator were both given; give one of them")
    if isinstance(generator, (list, tuple)):
        if len(generator) != count:
            raise ValueError(f"{len(generator)} generators for {count} pictures; give one a picture")
        return list(generator)
    if generator is not None and count == 1:
        return [generator]
    if seed is None:
        device = "cpu" if generator is None else generator.device
        seeds = torch.randint(MAX_SEED, (count,), generator=generator, device=device).tolist()
        return [torch.Generator().manual_seed(value) for value in seeds]
    most = MAX_SEED - count + 1
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= most:
        raise ValueError(f"seed {seed!r} must be a whole number from 0 to {most}")
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]
