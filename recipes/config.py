"""Recipes as structured configs: a dataclass schema, a YAML file and `a.b=c` overrides; unknown keys raise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

RECIPE_DIR = Path(__file__).parent


@dataclass
class DataConfig:
    corpus: str = "products"  # "products" draws the demo corpus; anything else is a folder that corpus.readers opens
    count: int = 12_000  # training pictures (an upper limit for a folder)
    validation_count: int = 256
    size: int = 144  # pixels
    seed: int = 0
    processes: int = 0  # drawing processes; 0: one a core


@dataclass
class LoopConfig:
    steps: int = 1000
    minutes: float = 0.0  # when > 0 the schedule ends at this wall time even if steps remain
    batch_size: int = 16
    learning_rate: float = 1e-3  # AdamW: embeddings, norms, biases, heads
    muon_learning_rate: float = 0.02  # Muon: weight matrices and convolutions; 0 gives them to AdamW too
    weight_decay: float = 0.01
    warmup_share: float = 0.03
    final_learning_rate_share: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    save_minutes: float = 3.0
    validate_share: float = 0.1  # validate and draw samples every this share of the run
    seed: int = 0


@dataclass
class StageOneConfig:
    model: dict[str, Any] = field(default_factory=dict)  # fields of vqgan.VQGANConfig
    quantizer_warmup_share: float = 0.12  # plain autoencoder first, then k-means codes (collapse and wrong colours else)
    losses: dict[str, Any] = field(default_factory=dict)  # arguments of vqgan.losses.VQGANLoss
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass
class StageTwoConfig:
    model: dict[str, Any] = field(default_factory=dict)  # fields of m6_prior.M6Config
    vocab_size: int = 1200
    text_weight: float = 0.1  # loss on words beside the loss on codes
    text_drop: float = 0.1  # share of prompts emptied, for guidance
    sampling: dict[str, Any] = field(default_factory=dict)  # the pipeline's defaults: top_k, top_p, ...
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass
class EvaluationConfig:
    count: int = 300  # pictures a row of the table
    judge: LoopConfig = field(default_factory=LoopConfig)


@dataclass
class RecipeConfig:
    name: str = "demo"
    out: str = "runs/demo"
    threads: int = 0  # 0: torch's default
    data: DataConfig = field(default_factory=DataConfig)
    stage_one: StageOneConfig = field(default_factory=StageOneConfig)
    stage_two: StageTwoConfig = field(default_factory=StageTwoConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def load_recipe(recipe: str, overrides: list[str] | None = None) -> RecipeConfig:
    """Reads a recipe by name (`demo`) or path and applies `a.b=c` overrides.

    Raises ValueError for a recipe that is not there, an unknown key or a value of the wrong type.
    """
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else RECIPE_DIR / f"{recipe}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPE_DIR.glob("*.yaml")))
        raise ValueError(f"recipe {recipe!r} not found: give a YAML file or one of: {known}")
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(RecipeConfig), OmegaConf.load(path), OmegaConf.from_dotlist(overrides or [])
        )
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ValueError(f"recipe {path.name}: {str(error).splitlines()[0]}") from None
    assert isinstance(config, RecipeConfig)
    for name, loop in (("stage_one", config.stage_one.loop), ("stage_two", config.stage_two.loop)):
        if loop.steps < 1 or loop.batch_size < 1:
            raise ValueError(f"{name}.loop: steps {loop.steps} and batch_size {loop.batch_size} must be at least 1")
    return config


def build(config_class: type, fields: dict[str, Any], where: str) -> Any:
    """`config_class(**fields)`, with unknown names reported as a ValueError that names the recipe's section."""
    try:
        return config_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
