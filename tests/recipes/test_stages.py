"""Both stages as the loop sees them: they learn, and a stopped run goes on to the same losses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from m6_prior import M6Tokenizer
from recipes.config import DataConfig, LoopConfig, StageOneConfig, StageTwoConfig
from recipes.data import PictureStore, open_store
from recipes.loop import Run, Task
from recipes.stage_one import StageOne
from recipes.stage_two import StageTwo
from vqgan import VQGAN, VQGANConfig

LOOP = LoopConfig(steps=40, batch_size=8, learning_rate=2e-3, precision="fp32", ema_decay=0.9)
VQGAN_FIELDS = {
    "sample_size": 32, "patch_size": 4, "base_channels": 32, "channel_multipliers": [1, 2], "num_res_blocks": 1,
    "attention_resolutions": [], "latent_channels": 32, "codebook_size": 32, "codebook_dim": 8, "quantizer": "cosine",
}  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[PictureStore, PictureStore]:
    folder, config = tmp_path_factory.mktemp("stores"), DataConfig(size=32, processes=1)
    return open_store(folder / "train", config, 48, 0), open_store(folder / "validation", config, 8, 1 << 30)


def make_stage_one(stores: tuple[PictureStore, PictureStore], losses: dict | None = None) -> StageOne:
    return StageOne(StageOneConfig(model=VQGAN_FIELDS, losses=losses or {}, loop=LOOP), *stores)


def make_stage_two(stores: tuple[PictureStore, PictureStore]) -> StageTwo:
    torch.manual_seed(0)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in VQGAN_FIELDS.items()}
    vqgan = VQGAN(VQGANConfig(**fields)).eval()
    tokenizer = M6Tokenizer.train(["红色条纹高跟鞋", "蓝色T恤"], 60, max_length=32)
    codes = [torch.randint(32, (len(store), 4, 4)) for store in stores]
    model = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_text_length": 32, "dropout": 0.1}
    sampling = {"top_k": 8, "top_p": 1.0, "temperature": 1.0, "guidance_scale": 1.5}
    config = StageTwoConfig(model=model, sampling=sampling, loop=LOOP)
    return StageTwo(config, vqgan, tokenizer, (stores[0], codes[0]), (stores[1], codes[1]))


def resumes(first: Task, second: Task, directory: Path, stop: int, end: int) -> None:
    """Runs one task to `end`, another from its checkpoint at `stop`, and compares every loss on the way."""
    run = Run(first, LOOP, directory)
    for step in range(end):
        if step == stop:
            run.save()
            resumed = Run(second, LOOP, directory)
        losses = run.train_step(run.progress)
        if step >= stop:
            again = resumed.train_step(resumed.progress)
            assert losses.keys() == again.keys()
            for key in losses:
                assert torch.equal(losses[key], again[key]), f"step {step}: {key}"


def test_stage_one_resumes_before_and_after_its_codebook_starts(
    tmp_path: Path, stores: tuple[PictureStore, PictureStore]
) -> None:
    resumes(make_stage_one(stores), make_stage_one(stores), tmp_path / "before", stop=3, end=8)
    resumes(make_stage_one(stores), make_stage_one(stores), tmp_path / "after", stop=9, end=12)


def test_stage_one_resumes_with_its_adversary(tmp_path: Path, stores: tuple[PictureStore, PictureStore]) -> None:
    losses = {"adversarial": 0.1, "adversarial_start": 0.1, "discriminator_channels": 8, "discriminator_layers": 1}
    resumes(make_stage_one(stores, losses), make_stage_one(stores, losses), tmp_path, stop=8, end=11)


def test_stage_one_learns_and_draws_its_sheet(tmp_path: Path, stores: tuple[PictureStore, PictureStore]) -> None:
    run = Run(make_stage_one(stores), LOOP, tmp_path)
    assert run.validate() == {}
    losses = [float(run.train_step(run.progress)["loss"]) for _ in range(40)]
    assert losses[-1] < 0.7 * losses[0]
    figures = run.validate()
    assert figures["psnr"] > 8 and 1 <= figures["codes_used"] <= 32
    assert len(list((tmp_path / "samples").glob("*.png"))) == 2


def test_white_cells_are_pulled_to_one_latent(tmp_path: Path, stores: tuple[PictureStore, PictureStore]) -> None:
    task = make_stage_one(stores)
    task.config = replace(task.config, blank_weight=0.3)
    run = Run(task, LOOP, tmp_path)
    distances = [float(run.train_step(run.progress)["blank"]) for _ in range(25)]
    assert sum(distances[-5:]) < 0.5 * sum(distances[:5])
    dark = torch.zeros(2, 3, 32, 32)
    assert task._blank_loss(dark, task.model.encode_latents(dark)) == 0


def test_stage_two_resumes(tmp_path: Path, stores: tuple[PictureStore, PictureStore]) -> None:
    resumes(make_stage_two(stores), make_stage_two(stores), tmp_path, stop=3, end=7)


def test_stage_two_learns_and_draws_its_sheet(tmp_path: Path, stores: tuple[PictureStore, PictureStore]) -> None:
    run = Run(make_stage_two(stores), replace(LOOP, learning_rate=5e-3), tmp_path)
    losses = [float(run.train_step(run.progress)["loss"]) for _ in range(30)]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert run.validate()["validation_code_loss"] > 0
    assert len(list((tmp_path / "samples").glob("*.png"))) == 1
