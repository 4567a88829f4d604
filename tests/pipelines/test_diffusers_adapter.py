"""The adapter is a DiffusionPipeline that draws the same pixels from the same folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import TextToImagePipeline

diffusers = pytest.importorskip("diffusers")
adapter = pytest.importorskip("pipelines.diffusers_adapter")

PROMPTS = ["红色高跟鞋", "蓝色西服"]


def seeded() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (1, 2)]


@pytest.fixture
def folder(pipe: TextToImagePipeline, tmp_path: Path) -> Path:
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_same_folder_gives_the_same_pixels(pipe: TextToImagePipeline, folder: Path) -> None:
    twin = adapter.M6DiffusionPipeline.from_pretrained(folder)
    twin.set_progress_bar_config(disable=True)
    assert isinstance(twin, diffusers.DiffusionPipeline)
    ours = pipe(PROMPTS, generator=seeded(), output_type="np", progress=False)
    theirs = twin(PROMPTS, generator=seeded(), output_type="np")
    assert np.array_equal(ours.images, theirs.images)
    assert torch.equal(ours.codes, theirs.codes) and torch.equal(ours.scores, theirs.scores)
    assert theirs[0] is theirs.images
    as_tuple = twin(PROMPTS, generator=seeded(), output_type="np", return_dict=False)
    assert isinstance(as_tuple, tuple) and np.array_equal(as_tuple[0], ours.images)


def test_what_the_adapter_saves_both_pipelines_load(folder: Path, tmp_path: Path) -> None:
    twin = adapter.M6DiffusionPipeline.from_pretrained(folder)
    twin.save_pretrained(tmp_path / "copy")
    for name in ("model_index.json", "prior/model.safetensors", "vqgan/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_parts_devices_and_defaults_answer_as_in_diffusers(pipe: TextToImagePipeline, folder: Path) -> None:
    twin = adapter.M6DiffusionPipeline.from_pretrained(folder)
    assert set(twin.components) == {"vqgan", "prior", "tokenizer"}
    assert twin.config.sampling == {"top_k": 16, "top_p": 1.0, "temperature": 1.0, "guidance_scale": 1.5}
    assert twin.to("cpu") is twin and twin.device.type == "cpu" and twin.dtype == torch.float32
    again = adapter.M6DiffusionPipeline(**twin.components, sampling={"top_k": 5})
    assert again.core.defaults.top_k == 5 and again.prior is twin.prior


def test_a_swapped_part_is_used(folder: Path) -> None:
    twin = adapter.M6DiffusionPipeline.from_pretrained(folder)
    other = adapter.M6DiffusionPipeline.from_pretrained(folder)
    with torch.no_grad():
        other.vqgan.decoder.conv_out.bias += 0.5
    twin.set_progress_bar_config(disable=True)
    before = twin(PROMPTS, generator=seeded(), output_type="pt").images
    twin.vqgan = other.vqgan
    assert not torch.equal(twin(PROMPTS, generator=seeded(), output_type="pt").images, before)


def test_the_callback_gets_the_adapter(folder: Path) -> None:
    twin = adapter.M6DiffusionPipeline.from_pretrained(folder)
    twin.set_progress_bar_config(disable=True)
    seen: list[tuple[object, int, int]] = []
    twin(PROMPTS[0], generator=seeded()[0], callback_on_step_end=lambda *a: seen.append(a[:3]))
    assert seen == [(twin, step, 16) for step in range(16)]


def test_a_broken_folder_is_refused_as_by_the_core(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no model_index.json"):
        adapter.M6DiffusionPipeline.from_pretrained(tmp_path)
