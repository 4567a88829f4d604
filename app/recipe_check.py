"""Reads a recipe's model sections before hours are spent on its first stage."""

from __future__ import annotations

from typing import Any


def check_models(recipe: str, overrides: list[str]) -> None:
    """Raises ValueError, naming the section, where models, losses or sampling cannot be built."""
    from m6_prior import M6Config
    from pipelines import SamplingDefaults
    from recipes.config import build, load_recipe
    from vqgan import VQGANConfig
    from vqgan.losses import VQGANLoss

    config = load_recipe(recipe, overrides)
    size, one, two = config.data.size, config.stage_one, config.stage_two
    try:
        vqgan = build(VQGANConfig, {"sample_size": size, **one.model}, "unknown or wrong key")
    except ValueError as error:
        raise ValueError(f"data.size {size} and stage_one.model: {error}") from None
    if vqgan.sample_size != size:
        raise ValueError(
            f"stage_one.model.sample_size {vqgan.sample_size} is not data.size {size};"
            " leave it out, or make them equal"
        )
    build(VQGANLoss, one.losses, "stage_one.losses")
    if "max_text_length" not in two.model:
        raise ValueError(
            "stage_two.model.max_text_length is not set; give the tokens of the longest prompt, such as 32"
        )
    height, width = vqgan.code_grid
    fixed: dict[str, Any] = {"vocab_size": two.vocab_size, "codebook_size": vqgan.codebook_size}
    build(M6Config, {**two.model, **fixed, "code_height": height, "code_width": width}, "stage_two.model")
    sampling: SamplingDefaults = build(SamplingDefaults, two.sampling, "stage_two.sampling")
    try:
        sampling.check(vqgan.codebook_size)
    except ValueError as error:
        raise ValueError(f"stage_two.sampling.{error}") from None
