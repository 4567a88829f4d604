"""`m6 train RECIPE`: pictures -> stage one -> codes -> stage two -> a model folder -> evaluation; each step resumes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from omegaconf import OmegaConf
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpus.titles import all_words
from m6_prior import M6Tokenizer
from recipes.config import RecipeConfig, load_recipe
from recipes.data import VALIDATION_SEED, PictureStore, open_store
from recipes.loop import train as run_loop
from recipes.stage_one import StageOne, encode_store
from recipes.stage_two import StageTwo
from vqgan import VQGAN

console = Console()


def train(recipe: str, overrides: list[str] | None = None) -> Path:
    """Runs a recipe to its end and returns the model folder `<out>/model`. Run again after a stop, it goes on."""
    config = load_recipe(recipe, overrides)
    if config.threads:
        torch.set_num_threads(config.threads)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(config)), "utf-8")

    stores = open_stores(config, out)
    vqgan = train_stage_one(config, out, *stores)
    codes = [make_codes(vqgan, store, out / f"codes_{i}.safetensors") for i, store in enumerate(stores)]
    model_dir = train_stage_two(config, out, vqgan, stores, codes)
    console.print(f"model folder: {model_dir}")
    if config.data.corpus == "products" and config.evaluation.count:
        from recipes.evaluate import evaluate

        evaluate(str(model_dir), str(out / "eval"), config=config.evaluation)
    return model_dir


def open_stores(config: RecipeConfig, out: Path) -> tuple[PictureStore, PictureStore]:
    data = config.data
    training = open_store(out / "train", data, data.count, data.seed)
    return training, open_store(out / "validation", data, data.validation_count, VALIDATION_SEED + data.seed)


def train_stage_one(config: RecipeConfig, out: Path, training: PictureStore, validation: PictureStore) -> VQGAN:
    folder = out / "vqgan"
    if not (folder / "config.json").is_file():
        model = run_loop(StageOne(config.stage_one, training, validation), config.stage_one.loop, out / "stage_one")
        assert isinstance(model, VQGAN)
        model.save_pretrained(folder)
    return VQGAN.from_pretrained(folder).eval()


def make_codes(vqgan: VQGAN, store: PictureStore, path: Path) -> Tensor:
    """(N, h, w) int32, kept beside the run."""
    if not path.is_file():
        temporary = path.with_suffix(".tmp")
        save_file({"codes": encode_store(vqgan, store)}, temporary)
        temporary.rename(path)
    return load_file(path)["codes"]


def train_stage_two(
    config: RecipeConfig, out: Path, vqgan: VQGAN, stores: tuple[PictureStore, PictureStore], codes: list[Tensor]
) -> Path:
    folder = out / "model"
    if (folder / "model_index.json").is_file():
        return folder
    words = all_words() if config.data.corpus == "products" else stores[0].captions
    max_length = config.stage_two.model["max_text_length"]
    tokenizer = M6Tokenizer.train(words, config.stage_two.vocab_size, max_length=max_length)
    task = StageTwo(config.stage_two, vqgan, tokenizer, (stores[0], codes[0]), (stores[1], codes[1]))
    prior = run_loop(task, config.stage_two.loop, out / "stage_two")
    dtype = torch.float16 if config.stored_precision == "fp16" else None
    task.pipeline(prior).save_pretrained(folder, dtype)
    (folder / "recipe.json").write_text(json.dumps(OmegaConf.to_container(OmegaConf.structured(config)), indent=1))
    return folder
