"""Folders of M6Model: what is saved comes back, what is broken is named."""

from __future__ import annotations

import json

import pytest
import torch
from m6_tiny import make_codes, make_texts
from safetensors.torch import load_file, save_file

from m6_prior import M6Config, M6Model


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "prior")
    return tmp_path / "prior"


def test_saved_and_loaded_models_predict_the_same(model, folder):
    loaded = M6Model.from_pretrained(folder)
    assert loaded.config == model.config and not loaded.training
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    inputs = (*make_texts(4), make_codes(1))
    assert torch.equal(loaded(*inputs).code_logits, model(*inputs).code_logits)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in loaded.parameters())


def test_half_precision_files_are_half_the_size_and_load_as_float32(model, folder, tmp_path):
    model.save_pretrained(tmp_path / "half", dtype=torch.float16)
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = M6Model.from_pretrained(tmp_path / "half")
    for a, b in zip(model.parameters(), loaded.parameters(), strict=True):
        assert b.dtype == torch.float32 and torch.equal(a.half().float(), b)


def test_the_config_survives_json(tmp_path):
    config = M6Config.preset("demo", feed_forward_size=100, dropout=0.1)
    config.save(tmp_path / "config.json")
    assert M6Config.load(tmp_path / "config.json") == config
    assert M6Config.from_dict(config.to_dict()) == config
    assert config.inner_size == 100 and M6Config.preset("demo").inner_size == 1024


def test_missing_files_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model.safetensors is not there"):
        M6Model.from_pretrained(folder)
    with pytest.raises(ValueError, match="config.json is not there"):
        M6Model.from_pretrained(folder / "nowhere")


@pytest.mark.parametrize("size", [0, 4, 1000, -100])
def test_truncated_weights_are_named(folder, size):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:size])
    with pytest.raises(ValueError, match="model.safetensors cannot be read .*truncated or foreign"):
        M6Model.from_pretrained(folder)


def test_foreign_weights_are_named(folder):
    weights = load_file(folder / "model.safetensors")
    for change, message in (
        ({"other.weight": torch.zeros(2)}, r"other.weight is \(2,\) in the file, nothing in the model"),
        ({"norm.weight": torch.zeros(2)}, r"norm.weight is \(2,\) in the file, \(32,\) in the model"),
    ):
        save_file({**weights, **change}, folder / "model.safetensors")
        with pytest.raises(ValueError, match=message):
            M6Model.from_pretrained(folder)
    del weights["norm.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"norm.weight is nothing in the file, \(32,\) in the model"):
        M6Model.from_pretrained(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"vocab_size": 4', "config.json is not JSON"),
        ("[]", "config.json is not the config of an M6 model"),
        (json.dumps({"_class_name": "VQModel"}), "config.json is not the config of an M6 model"),
        (json.dumps({"sample_size": 128}), "config.json: unknown key 'sample_size'"),
        (json.dumps({"num_heads": 7}), "config.json: hidden_size 1024 must be a multiple of num_heads 7"),
    ],
)
def test_broken_configs_are_named(folder, content, message):
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        M6Model.from_pretrained(folder)
