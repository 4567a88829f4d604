"""Laws of the VQGAN: shapes, what is stored, what training changes, and files that are not its own."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUANTIZER_FIELDS, pictures
from safetensors.torch import load_file, save_file

from vqgan import VQGAN, VQGANConfig

WEIGHTS = "diffusion_pytorch_model.safetensors"
Make = Callable[..., VQGAN]
VARIANTS: list[dict[str, Any]] = [
    {},
    {"patch_size": 1, "channel_multipliers": (1, 1, 2), "attention_resolutions": (16, 8)},
    {"patch_size": 4, "channel_multipliers": (1,), "mid_attention": False, "attention_resolutions": ()},
    {"color_skip": True},
]


@pytest.mark.parametrize("quantizer", QUANTIZER_FIELDS)
def test_codes_to_image_to_shape(quantizer: str, make_model: Make) -> None:
    model = make_model(quantizer).eval()
    with torch.no_grad():
        codes = model.encode(pictures(2, 16, 24))
        assert codes.shape == (2, 4, 6) and codes.dtype == torch.int64
        assert 0 <= codes.min() and codes.max() < model.config.codebook_size
        pixels = model.decode(codes)
        assert pixels.shape == (2, 3, 16, 24) and pixels.abs().max() <= 1
        every = torch.arange(model.config.codebook_size).view(1, -1, 1)
        assert torch.isfinite(model.decode(every)).all()


@pytest.mark.parametrize("changes", VARIANTS)
def test_every_variant_keeps_the_shapes(changes: dict[str, Any], make_model: Make) -> None:
    model = make_model(**changes)
    assert model.config.downsampling_factor == 4 and model.config.code_grid == (8, 8)
    output = model(pictures(2, 32, 16))
    assert output.reconstruction.shape == (2, 3, 32, 16) and output.codes.shape == (2, 8, 4)
    assert output.quantizer_loss.shape == ()
    latents = model.encode_latents(pictures(2, 32, 16))
    assert latents.shape == (2, model.config.codebook_dim, 8, 4)
    assert model.decode_latents(latents).shape == (2, 3, 32, 16)


def test_a_picture_gives_the_same_codes_alone_and_in_a_batch(make_model: Make) -> None:
    model, pixels = make_model("cosine").eval(), pictures(4)
    with torch.no_grad():
        assert torch.equal(model.encode(pixels), torch.cat([model.encode(one) for one in pixels.split(1)]))


@pytest.mark.parametrize(("height", "width", "named"), [(30, 32, "height 30"), (32, 18, "width 18")])
def test_a_size_off_the_grid_is_refused(height: int, width: int, named: str, make_model: Make) -> None:
    with pytest.raises(ValueError, match=rf"{named} must be a multiple of 4"):
        make_model().encode(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize("quantizer", QUANTIZER_FIELDS)
def test_warm_up_trains_an_autoencoder_and_leaves_the_codes_alone(quantizer: str, make_model: Make) -> None:
    model = make_model(quantizer).train()
    before = model.quantizer.codebook.detach().clone()
    output = model(pictures(2), quantize=False)
    assert output.codes is None and output.quantizer_loss == 0
    output.reconstruction.square().mean().backward()
    assert model.encoder.conv_in.weight.grad.abs().sum() > 0
    assert torch.equal(before, model.quantizer.codebook)
    if quantizer != "gumbel":  # whose decoder sees mixtures of codes
        assert model.quantizer.codebook.grad is None


@pytest.mark.parametrize("quantizer", QUANTIZER_FIELDS)
def test_training_loss_falls(quantizer: str, make_model: Make) -> None:
    model, pixels = make_model(quantizer, attention_resolutions=()).train(), pictures(4, 16, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(25):
        output = model(pixels)
        loss = (output.reconstruction - pixels).square().mean()
        (loss + output.quantizer_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]


@pytest.mark.parametrize("quantizer", QUANTIZER_FIELDS)
def test_save_and_load_are_identical(quantizer: str, make_model: Make, tmp_path: Path) -> None:
    model = make_model(quantizer, color_skip=quantizer != "gumbel").train()
    model(pictures(8))  # the moving averages start
    model.eval().save_pretrained(tmp_path / "a" / "b")
    loaded = VQGAN.from_pretrained(tmp_path / "a" / "b")
    assert loaded.config == model.config and not loaded.training
    assert loaded.quantizer.initialized == model.quantizer.initialized
    with torch.no_grad():
        codes = model.encode(pictures(4))
        assert torch.equal(loaded.encode(pictures(4)), codes)
        assert torch.equal(loaded.decode(codes), model.decode(codes))


@pytest.mark.parametrize("quantizer", QUANTIZER_FIELDS)
def test_only_weights_of_inference_are_stored(quantizer: str, make_model: Make, tmp_path: Path) -> None:
    model = make_model(quantizer).train()
    model.quantizer.make_trainer()
    model(pictures(8))
    model.save_pretrained(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["config.json", WEIGHTS]
    names = set(load_file(tmp_path / WEIGHTS))
    parts = {name.partition(".")[0] for name in names}
    assert parts == {"encoder", "decoder", "quant_conv", "post_quant_conv", "quantizer"}
    quantizer_names = {name for name in names if name.startswith("quantizer.")} - {"quantizer.trained"}
    proj = {"quantizer.proj.weight", "quantizer.proj.bias"} if quantizer == "gumbel" else set()
    assert quantizer_names == {"quantizer.codebook"} | proj


def test_half_precision_files_load_as_float32(make_model: Make, tmp_path: Path) -> None:
    model = make_model("cosine").eval()
    model.save_pretrained(tmp_path, dtype=torch.float16)
    assert {v.dtype for v in load_file(tmp_path / WEIGHTS).values()} <= {torch.float16, torch.bool}
    loaded = VQGAN.from_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    codes = torch.arange(64).view(1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(loaded.decode(codes), model.decode(codes), atol=0.02, rtol=0.02)


def test_a_copy_of_a_training_model_is_independent(make_model: Make) -> None:
    """Averaging copies the model, its moving averages included."""
    model = make_model("cosine").train()
    model(pictures(8))
    copy = deepcopy(model)
    before = copy.quantizer.codebook.clone()
    model(pictures(8, seed=5))
    assert torch.equal(copy.quantizer.codebook, before)
    assert not torch.equal(model.quantizer.codebook, before)


def test_a_failed_save_keeps_the_old_folder_whole(
    make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    old = make_model().eval()
    old.save_pretrained(tmp_path)
    monkeypatch.setattr("vqgan.model.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        make_model(seed=1).save_pretrained(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["config.json", WEIGHTS]
    assert torch.equal(VQGAN.from_pretrained(tmp_path).encoder.conv_in.weight, old.encoder.conv_in.weight)


def test_broken_weights_are_named(make_model: Make, tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / WEIGHTS
    model.save_pretrained(tmp_path)
    whole = path.read_bytes()
    tensors = {name: value.clone() for name, value in load_file(path).items()}  # not of the file that changes

    def complaint() -> str:
        with pytest.raises(ValueError, match=WEIGHTS) as raised:
            VQGAN.from_pretrained(tmp_path)
        return str(raised.value)

    for content in (b"", whole[:100], whole[:-9], b"<html>", bytes(500)):
        path.write_bytes(content)
        assert "\n" not in complaint()
    path.unlink()
    assert "missing" in complaint()
    for changed in (
        {k: v for k, v in tensors.items() if k != "quant_conv.bias"},
        {**tensors, "quant_conv.bias": torch.zeros(3)},
    ):
        save_file(changed, path)
        assert "quant_conv.bias" in complaint()
    save_file({**tensors, "surplus": torch.zeros(3)}, path)
    assert "surplus" in complaint()


@pytest.mark.parametrize(
    "content",
    [
        None, "", "{", "[]", "3", '{"_class_name": "VQModel"}', '{"sample_size": 32}',
        '{"_class_name": "VQGAN", "sample_sise": 32}', '{"_class_name": "VQGAN", "sample_size": "32"}',
        '{"_class_name": "VQGAN", "codebook_size": 4.5}', '{"_class_name": "VQGAN", "channel_multipliers": 2}',
        '{"_class_name": "VQGAN", "channel_multipliers": [0]}', '{"_class_name": "VQGAN", "base_channels": 33}',
        '{"_class_name": "VQGAN", "dropout": 2}', '{"_class_name": "VQGAN", "codebook_decay": null}',
    ],
)  # fmt: skip
def test_a_broken_config_is_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json") as raised:
        VQGAN.from_pretrained(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_config_survives_json(make_model: Make, tmp_path: Path) -> None:
    config = make_model("fsq", attention_resolutions=(8, 4)).config
    (tmp_path / "config.json").write_text(config.to_json())
    assert VQGANConfig.from_json(tmp_path / "config.json") == config
    assert json.loads(config.to_json())["_class_name"] == "VQGAN"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sample_size": 100}, "sample_size 100 must be a multiple of 16"),
        ({"base_channels": 48}, "base_channels 48 must be a multiple of 32"),
        ({"codebook_size": 0}, "codebook_size 0"),
        ({"num_res_blocks": 1.5}, "num_res_blocks 1.5"),
        ({"channel_multipliers": ()}, "channel_multipliers"),
        ({"channel_multipliers": (1, -1)}, "channel_multipliers"),
        ({"quantizer": "magic"}, "'magic'"),
        ({"quantizer": "fsq", "fsq_levels": (8, 8)}, "fsq_levels"),
        ({"quantizer": "gumbel", "color_skip": True}, "color_skip"),
        ({"dropout": 1.5}, "dropout 1.5"),
    ],
)
def test_bad_combinations_are_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VQGANConfig(**fields)


def test_the_defaults_are_tamings_f16() -> None:
    config = VQGANConfig()
    assert (config.downsampling_factor, config.code_grid, config.codebook_size) == (16, (16, 16), 1024)
    assert (config.base_channels, config.channel_multipliers) == (128, (1, 1, 2, 2, 4))
    assert (config.attention_resolutions, config.patch_size, config.mid_attention) == ((16,), 1, True)
