"""Recipes as structured configs: a dataclass schema, a YAML file and `a.b=c` overrides; unknown keys raise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

RECIPE_DIR = Path(__file__).parent
PRECISIONS = ("auto", "fp32", "bf16")
STORED_PRECISIONS = ("fp16", "fp32")


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
    precision: str = "auto"  # auto: bf16 where the hardware multiplies in it, else fp32; or fp32, bf16
    log_steps: int = 10  # a row of the log every so many steps; checkpoints are saved at such steps
    save_minutes: float = 3.0
    validate_share: float = 0.1  # validate and draw samples every this share of the run
    seed: int = 0


@dataclass
class StageOneConfig:
    model: dict[str, Any] = field(default_factory=dict)  # fields of vqgan.VQGANConfig
    quantizer_warmup_share: float = 0.12  # plain autoencoder first, then k-means codes (else they collapse)
    blank_weight: float = 0.0  # pulls cells of pure white to one latent, which leaves the codes to the products
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
    stored_precision: str = "fp16"  # of the weights in the model folder: fp16 or fp32
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
    bad = [override for override in overrides or [] if "=" not in override]
    if bad:
        raise ValueError(f"override {bad[0]!r} needs the form key=value, like stage_one.loop.steps=100")
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(RecipeConfig), OmegaConf.load(path), OmegaConf.from_dotlist(overrides or [])
        )
        config = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, TypeError) as error:
        key = getattr(error, "full_key", None)
        raise ValueError(f"recipe {path.name}: {f'{key}: ' if key else ''}{str(error).splitlines()[0]}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {path} is no readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, RecipeConfig):
        raise ValueError(f"recipe {path} must be a mapping of sections like data: and stage_one:")
    check_recipe(config)
    return config


def check_recipe(config: RecipeConfig) -> None:
    """Raises ValueError for values that no run can use, with the key, the value and the limit."""
    data = config.data
    at_least_one = {"data.count": data.count, "data.validation_count": data.validation_count}
    not_negative: dict[str, float] = {
        "threads": config.threads, "data.processes": data.processes, "data.seed": data.seed,
        "evaluation.count": config.evaluation.count,
    }  # fmt: skip
    if data.size < 16:
        raise ValueError(f"data.size {data.size} must be at least 16 pixels")
    shares = {
        "stage_one.quantizer_warmup_share": config.stage_one.quantizer_warmup_share,
        "stage_two.text_drop": config.stage_two.text_drop,
    }
    loops = {"stage_one.loop": config.stage_one.loop, "stage_two.loop": config.stage_two.loop}
    for section, loop in {**loops, "evaluation.judge": config.evaluation.judge}.items():
        for name in ("steps", "batch_size", "log_steps"):
            at_least_one[f"{section}.{name}"] = getattr(loop, name)
        for name in ("minutes", "learning_rate", "muon_learning_rate", "weight_decay", "save_minutes", "seed"):
            not_negative[f"{section}.{name}"] = getattr(loop, name)
        for name in ("warmup_share", "final_learning_rate_share", "ema_decay", "validate_share"):
            shares[f"{section}.{name}"] = getattr(loop, name)
        if not loop.clip_norm > 0:
            raise ValueError(f"{section}.clip_norm {loop.clip_norm} must be above 0")
        if loop.precision not in PRECISIONS:
            raise ValueError(f"{section}.precision {loop.precision!r} must be one of {' '.join(PRECISIONS)}")
    if config.stored_precision not in STORED_PRECISIONS:
        raise ValueError(f"stored_precision {config.stored_precision!r} must be one of {' '.join(STORED_PRECISIONS)}")
    for key, count in at_least_one.items():
        if count < 1:
            raise ValueError(f"{key} {count} must be at least 1")
    for key, value in not_negative.items():
        if not value >= 0:
            raise ValueError(f"{key} {value} must not be negative")
    for key, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{key} {share} must be between 0 and 1")


def build(config_class: type, fields: dict[str, Any], where: str) -> Any:
    """`config_class(**fields)`, with unknown names reported as a ValueError that names the recipe's section."""
    try:
        return config_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
