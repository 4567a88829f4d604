"""Imported checkpoints give the codes and the pixels of the originals; nothing in a pickle is executed."""

import os
import pickle
import sys
import types
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from reference_models import LlamaGenVQ, TamingGumbel, TamingVQ, scramble
from torch import Tensor

from vqgan import VQGAN
from vqgan.importing import import_llamagen, import_taming

SMALL = {
    "double_z": False, "z_channels": 32, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
    "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [16], "dropout": 0.0,
}  # fmt: skip
VQ, EMA, GUMBEL = (f"taming.models.vqgan.{name}" for name in ("VQModel", "EMAVQ", "GumbelVQ"))


def make_taming(kind: type[TamingVQ] = TamingVQ, n_embed: int = 64, embed_dim: int = 16, **changes: Any) -> TamingVQ:
    torch.manual_seed(1)
    model = kind({**SMALL, **changes}, n_embed, embed_dim)
    scramble(model)
    return model


def make_llamagen(multipliers: list[int] | None = None, **sizes: int) -> LlamaGenVQ:
    torch.manual_seed(1)
    model = LlamaGenVQ(multipliers or [1, 1, 2], **{"first": 32, "latent": 48, "count": 64, "dim": 8, **sizes})
    scramble(model)
    return model


def write_yaml(path: Path, target: str = VQ, n_embed: int = 64, embed_dim: int = 16, **changes: Any) -> Path:
    """A model.yaml as taming publishes them, with the parts that concern training."""
    params = {
        "embed_dim": embed_dim, "n_embed": n_embed, "ddconfig": {**SMALL, **changes},
        "lossconfig": {"target": "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator", "params": {}},
    }  # fmt: skip
    model = {"base_learning_rate": 4.5e-06, "target": target, "params": params}
    path.write_text(yaml.safe_dump({"model": model, "data": {"params": {"batch_size": 12}}}), "utf-8")
    return path


def with_loss(state: dict[str, Tensor]) -> dict[str, Tensor]:
    extra = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.zeros(8, 3, 4, 4)}
    return {**state, **extra}


def write_lightning(path: Path, state: dict[str, Tensor], zipped: bool = True, **more: Any) -> Path:
    content = {"epoch": 16, "global_step": 123, "pytorch-lightning_version": "1.0.8", "callbacks": {}, **more}
    torch.save({**content, "state_dict": state}, path, _use_new_zipfile_serialization=zipped)
    return path


def assert_same(original: Any, imported: VQGAN) -> None:
    height = max(16, 4 * imported.config.downsampling_factor)
    pixels = torch.rand(2, 3, height, height * 3 // 2, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        z_q, codes = original.encode(pixels)
        ours = imported.encode(pixels)
        assert ours.dtype == torch.int64 and torch.equal(ours, codes)
        assert len(codes.unique()) > 8, "too few different codes to tell anything"
        torch.testing.assert_close(imported.decode(codes), original.decode(z_q).clamp(-1, 1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(imported.decode_latents(z_q), original.decode(z_q), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ch_mult": [1, 1, 2], "num_res_blocks": 2, "attn_resolutions": [16, 8], "z_channels": 48},
        {"ch_mult": [2, 1, 1, 2], "attn_resolutions": [], "dropout": 0.2},
        {"ch_mult": [1], "attn_resolutions": [], "ch": 64},
        {"attn_resolutions": [32], "n_embed": 100, "embed_dim": 3},
    ],
)
def test_taming_vq_gives_the_same_codes_and_pixels(changes: dict[str, Any], tmp_path: Path) -> None:
    original = make_taming(**changes)
    checkpoint = write_lightning(tmp_path / "last.ckpt", with_loss(original.state_dict()))
    import_taming(checkpoint, write_yaml(tmp_path / "model.yaml", **changes), tmp_path / "out")
    assert_same(original, VQGAN.from_pretrained(tmp_path / "out"))
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_taming_gumbel_gives_the_same_codes_and_pixels(tmp_path: Path) -> None:
    original = make_taming(TamingGumbel, embed_dim=32)
    checkpoint = write_lightning(tmp_path / "last.ckpt", with_loss(original.state_dict()))
    config = write_yaml(tmp_path / "model.yaml", GUMBEL, embed_dim=32)
    import_taming(checkpoint, config, tmp_path / "out")
    imported = VQGAN.from_pretrained(tmp_path / "out")
    assert imported.config.quantizer == "gumbel"
    assert_same(original, imported)


@pytest.mark.parametrize("target", [VQ, EMA])
def test_taming_ema_statistics_are_ignored(target: str, tmp_path: Path) -> None:
    original = make_taming()
    statistics = {"cluster_size": torch.ones(64), "embed_avg": torch.zeros(64, 16)}
    state = {**original.state_dict(), **{f"quantize.embedding.{k}": v for k, v in statistics.items()}}
    checkpoint = write_lightning(tmp_path / "last.ckpt", state)
    import_taming(checkpoint, write_yaml(tmp_path / "model.yaml", target), tmp_path / "out")
    imported = VQGAN.from_pretrained(tmp_path / "out")
    assert imported.quantizer.initialized
    assert_same(original, imported)


@pytest.mark.parametrize("whose_yaml", ["first stage", "transformer"])
def test_taming_first_stage_of_a_transformer_checkpoint(whose_yaml: str, tmp_path: Path) -> None:
    original = make_taming()
    state = {f"first_stage_model.{k}": v for k, v in with_loss(original.state_dict()).items()}
    others = ("transformer.tok_emb.weight", "cond_stage_model.conv.weight", "permuter.forward_shuffle_idx")
    checkpoint = write_lightning(tmp_path / "last.ckpt", {**state, **{name: torch.zeros(4) for name in others}})
    config = write_yaml(tmp_path / "model.yaml")
    if whose_yaml == "transformer":
        first_stage = yaml.safe_load(config.read_text())["model"]
        params = {"transformer_config": {"target": "GPT"}, "first_stage_config": first_stage}
        model = {"target": "taming.models.cond_transformer.Net2NetTransformer", "params": params}
        config.write_text(yaml.safe_dump({"model": model}))
    import_taming(checkpoint, config, tmp_path / "out")
    assert_same(original, VQGAN.from_pretrained(tmp_path / "out"))


@pytest.mark.parametrize("zipped", [True, False])
def test_lightning_files_of_real_runs_are_read(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes of callbacks as keys, settings, numpy scalars, optimizers; torch 1.6 wrote files without zip."""
    from omegaconf import OmegaConf

    lightning = types.ModuleType("pytorch_lightning")  # made up: the real one takes long to import
    model_checkpoint = type("ModelCheckpoint", (), {"__module__": lightning.__name__})
    attribute_dict = type("AttributeDict", (dict,), {"__module__": lightning.__name__})
    for kind in (model_checkpoint, attribute_dict):
        setattr(lightning, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, lightning.__name__, lightning)
    original = make_taming()
    optimizer = {"state": {0: {"step": 1, "exp_avg": torch.ones(3)}}, "param_groups": [{"betas": (0.5, 0.9)}]}
    checkpoint = write_lightning(
        tmp_path / "last.ckpt",
        with_loss(original.state_dict()),
        zipped,
        callbacks={model_checkpoint: {"score": np.float64(0.5), "path": tmp_path, "self": model_checkpoint()}},
        optimizer_states=[optimizer],
        lr_schedulers=[],
        hyper_parameters=attribute_dict(ddconfig=OmegaConf.create({"ch_mult": [1, 2]}), args=Namespace(seed=23)),
    )
    monkeypatch.delitem(sys.modules, lightning.__name__)
    import_taming(checkpoint, write_yaml(tmp_path / "model.yaml"), tmp_path / "out")
    assert_same(original, VQGAN.from_pretrained(tmp_path / "out"))
    assert lightning.__name__ not in sys.modules


@pytest.mark.parametrize("multipliers", [[1, 1, 2], [1, 2, 2, 4], [1]])
def test_llamagen_gives_the_same_codes_and_pixels(multipliers: list[int], tmp_path: Path) -> None:
    sizes = {3: {}, 4: {"latent": 32, "dim": 4, "blocks": 1}, 1: {"first": 64, "count": 99}}[len(multipliers)]
    original = make_llamagen(multipliers, **sizes)
    torch.save({"model": original.state_dict()}, tmp_path / "vq.pt")
    import_llamagen(tmp_path / "vq.pt", tmp_path / "out")
    imported = VQGAN.from_pretrained(tmp_path / "out")
    assert imported.config.quantizer == "cosine"
    assert imported.config.channel_multipliers == tuple(multipliers)
    assert imported.config.downsampling_factor == 2 ** (len(multipliers) - 1)
    assert_same(original, imported)


def test_llamagen_training_files_prefer_the_averaged_weights(tmp_path: Path) -> None:
    averaged, other = make_llamagen(), make_llamagen(dim=4)
    content = {"model": other.state_dict(), "ema": averaged.state_dict(), "steps": 5, "args": Namespace(lr=1e-4)}
    torch.save(content, tmp_path / "vq.pt")
    import_llamagen(tmp_path / "vq.pt", tmp_path / "out")
    assert_same(averaged, VQGAN.from_pretrained(tmp_path / "out"))


@pytest.mark.parametrize("key", ["state_dict", None])
def test_llamagen_inside_janus_is_found(key: str | None, tmp_path: Path) -> None:
    original = make_llamagen()
    state = {f"gen_vision_model.{k}": v for k, v in original.state_dict().items()}
    state |= {"language_model.model.norm.weight": torch.ones(4), "gen_head.vision_head.bias": torch.ones(4)}
    torch.save({key: state} if key else state, tmp_path / "pytorch_model.bin")
    import_llamagen(tmp_path / "pytorch_model.bin", tmp_path / "out")
    assert_same(original, VQGAN.from_pretrained(tmp_path / "out"))


def test_half_precision_weights_are_imported_as_float32(tmp_path: Path) -> None:
    original = make_llamagen().half().float()
    torch.save({"model": {k: v.half() for k, v in original.state_dict().items()}}, tmp_path / "vq.pt")
    import_llamagen(tmp_path / "vq.pt", tmp_path / "out")
    assert_same(original, VQGAN.from_pretrained(tmp_path / "out"))


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("form", ["zip", "legacy", "protocol 4", "plain pickle"])
@pytest.mark.parametrize("attack", [os.system, eval, os.mkdir])
def test_a_pickle_that_would_run_code_is_refused(attack: Callable[..., Any], form: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    argument = {os.system: f"touch {trace}", eval: f"open({str(trace)!r}, 'w')"}.get(attack, str(trace))
    content = {"state_dict": make_taming().state_dict(), "evil": Calls(attack, argument)}
    path = tmp_path / "last.ckpt"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(content["evil"], protocol=2))
    else:
        torch.save(content, path, pickle_protocol=4 if form == "protocol 4" else 2,
                   _use_new_zipfile_serialization=form != "legacy")  # fmt: skip
    for run in (
        lambda: import_taming(path, write_yaml(tmp_path / "model.yaml"), tmp_path / "out"),
        lambda: import_llamagen(path, tmp_path / "out"),
    ):
        with pytest.raises(ValueError, match=r"last\.ckpt") as raised:
            run()
        assert "\n" not in str(raised.value) and "weights_only" not in str(raised.value)
        if form == "zip":
            assert "would call" in str(raised.value)
    assert not trace.exists() and not (tmp_path / "out").exists()
    torch.load(path, weights_only=False) if form != "plain pickle" else pickle.loads(path.read_bytes())
    assert trace.exists(), "the attack itself does nothing, so the test would pass for any reader"


def test_functions_of_allowed_libraries_are_not_called_either(tmp_path: Path) -> None:
    original = make_taming()
    call = Calls(np.save, str(tmp_path / "trace.npy"), [1])
    checkpoint = write_lightning(tmp_path / "last.ckpt", original.state_dict(), score=call)
    import_taming(checkpoint, write_yaml(tmp_path / "model.yaml"), tmp_path / "out")
    assert not (tmp_path / "trace.npy").exists()
    assert_same(original, VQGAN.from_pretrained(tmp_path / "out"))


def change(state: dict[str, Tensor], **changes: Tensor | None) -> dict[str, Tensor]:
    """A copy in which some tensors are replaced, added or, with None, left out; `__` stands for a dot."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in {**state, **dotted}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"decoder__up__1__block__0__conv1__weight": None}, r"decoder\.up\.1\.block\.0\.conv1\.weight is not there"),
        ({"encoder__down__0__attn__0__q__weight": torch.zeros(32, 32, 1, 1)}, r"encoder\.down\.0\.attn.* has no place"),
        ({"quantize__used": torch.zeros(4)}, r"quantize\.used has no place"),
        ({"quantize__embedding__weight": torch.zeros(9, 3)}, r"embedding\.weight is \[9, 3\], not \[64, 16\]"),
        ({"quant_conv__bias": torch.zeros(16).long()}, r"quant_conv\.bias is torch\.int64"),
    ],
)
def test_taming_tensors_that_do_not_fit_are_named(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    state = change(make_taming().state_dict(), **changes)
    checkpoint = write_lightning(tmp_path / "last.ckpt", state)
    with pytest.raises(ValueError, match=rf"last\.ckpt does not fit .*model\.yaml: tensor .*{named}"):
        import_taming(checkpoint, write_yaml(tmp_path / "model.yaml"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"ch": 64}, {"ch_mult": [1, 1, 2]}, {"attn_resolutions": []}, {"n_embed": 32}])
def test_a_yaml_of_another_model_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = write_lightning(tmp_path / "last.ckpt", make_taming().state_dict())
    with pytest.raises(ValueError, match=r"does not fit .*model\.yaml: tensor"):
        import_taming(checkpoint, write_yaml(tmp_path / "model.yaml", **changes), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"quantize__embedding__weight": None}, r"quantize\.embedding\.weight is not there"),
        ({"encoder__conv_blocks__1__res__1__conv2__bias": None}, r"conv_blocks\.1\.res\.1\.conv2\.bias is not there"),
        ({"quantize__surplus": torch.zeros(1)}, r"quantize\.surplus has no place"),
        ({"decoder__conv_in__bias": torch.zeros(7)}, r"decoder\.conv_in\.bias is \[7\], not \[64\]"),
        ({"encoder__conv_in__weight": torch.zeros(())}, r"encoder\.conv_in\.weight is not there"),
        ({"encoder__conv_in__weight": torch.zeros(48, 3, 3, 3)}, "no multiples of 48"),
    ],
)
def test_llamagen_tensors_that_do_not_fit_are_named(changes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    torch.save({"model": change(make_llamagen().state_dict(), **changes)}, tmp_path / "vq.pt")
    with pytest.raises(ValueError, match=complaint):
        import_llamagen(tmp_path / "vq.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"target": "taming.models.vqgan.VQSegmentationModel"}, "VQSegmentationModel' cannot be imported"),
        ({"target": "os.system"}, "'os.system' cannot be imported"),
        ({"double_z": True}, "double_z True"),
        ({"resamp_with_conv": False}, "resamp_with_conv False"),
        ({"resolution": 33}, "sample_size 33 must be a multiple"),
        ({"ch": "128"}, "ch '128' must be a whole number"),
        ({"ch_mult": 2}, "ch_mult 2 must be a list"),
        ({"num_res_blocks": None}, "num_res_blocks None"),
        ({"dropout": "no"}, "dropout 'no'"),
    ],
)
def test_settings_that_cannot_be_imported_are_named(settings: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    checkpoint = write_lightning(tmp_path / "last.ckpt", make_taming().state_dict())
    with pytest.raises(ValueError, match=rf"model\.yaml: .*{complaint}"):
        import_taming(checkpoint, write_yaml(tmp_path / "model.yaml", **settings), tmp_path / "out")


@pytest.mark.parametrize(
    "text", [None, "", "[1, 2]", "model: 3", "model: {target: a}", "a: [", "\x00", "a: !!python/name:os.system"]
)
def test_a_broken_yaml_is_named(text: str | None, tmp_path: Path) -> None:
    checkpoint = write_lightning(tmp_path / "last.ckpt", make_taming().state_dict())
    if text is not None:
        (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"model\.yaml") as raised:
        import_taming(checkpoint, tmp_path / "model.yaml", tmp_path / "out")
    assert "\n" not in str(raised.value)


def broken_files(folder: Path) -> dict[str, Path]:
    whole = write_lightning(folder / "whole.ckpt", make_taming().state_dict()).read_bytes()
    old = write_lightning(folder / "old.ckpt", make_taming().state_dict(), zipped=False).read_bytes()
    contents = {
        "empty": b"", "half": whole[: len(whole) // 2], "nearly": whole[:-8], "old_half": old[: len(old) // 2],
        "old_head": old[:300], "text": b"<html>404</html>", "noise": bytes(range(256)) * 9,
    }  # fmt: skip
    for name, content in contents.items():
        (folder / f"{name}.ckpt").write_bytes(content)
    for name, value in {"number": 3, "list": [1], "no_weights": {"state_dict": {}}, "mixed": {"state_dict": {"a": 1}},
                        "foreign": {"state_dict": {"fc.weight": torch.zeros(2)}}}.items():  # fmt: skip
        torch.save(value, folder / f"{name}.ckpt")
        contents[name] = b""
    with zipfile.ZipFile(folder / "zip.ckpt", "w") as archive:
        archive.writestr("a.txt", "a")
    return {name: folder / f"{name}.ckpt" for name in [*contents, "zip", "missing"]} | {"folder": folder}


def test_broken_and_foreign_checkpoints_are_named_and_leave_nothing(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, path in broken_files(files).items():
        for run in (
            lambda path=path: import_taming(path, write_yaml(tmp_path / "model.yaml"), tmp_path / "out"),
            lambda path=path: import_llamagen(path, tmp_path / "out"),
        ):
            with pytest.raises(ValueError) as raised:
                run()
            assert str(path) in str(raised.value), name
            assert "\n" not in str(raised.value), name
    assert sorted(os.listdir(tmp_path)) == ["files", "model.yaml"]


def test_a_taming_file_given_as_llamagen_is_sent_to_the_right_command(tmp_path: Path) -> None:
    checkpoint = write_lightning(tmp_path / "last.ckpt", make_taming().state_dict())
    with pytest.raises(ValueError, match="m6 import taming"):
        import_llamagen(checkpoint, tmp_path / "out")


def test_an_output_in_use_is_left_alone(tmp_path: Path) -> None:
    torch.save({"model": make_llamagen().state_dict()}, tmp_path / "vq.pt")
    used, file, empty = tmp_path / "used", tmp_path / "file", tmp_path / "empty"
    used.mkdir()
    (used / "notes.txt").write_text("mine")
    file.write_text("mine")
    empty.mkdir()
    for out in (used, file):
        with pytest.raises(ValueError, match=f"output {out}"):
            import_llamagen(tmp_path / "vq.pt", out)
    assert (used / "notes.txt").read_text() == file.read_text() == "mine" and os.listdir(used) == ["notes.txt"]
    import_llamagen(tmp_path / "vq.pt", empty)
    assert VQGAN.from_pretrained(empty).config.codebook_size == 64


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    torch.save({"model": make_llamagen().state_dict()}, tmp_path / "vq.pt")
    monkeypatch.setattr("vqgan.model.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        import_llamagen(tmp_path / "vq.pt", tmp_path / "out")
    assert os.listdir(tmp_path) == ["vq.pt"]
