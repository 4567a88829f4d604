"""A model folder gives the same pictures back, is whole or absent, and is refused when damaged."""

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from m6_prior import M6Model, M6Tokenizer
from pipelines import TextToImagePipeline
from vqgan import VQGAN

FILES = (
    "model_index.json",
    "vqgan/config.json",
    "vqgan/diffusion_pytorch_model.safetensors",
    "prior/config.json",
    "prior/model.safetensors",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.txt",
)
PROMPT = "红色高跟鞋"


def picture(pipe: TextToImagePipeline) -> torch.Tensor:
    images = pipe(PROMPT, seed=3, output_type="pt", progress=False).images
    assert isinstance(images, torch.Tensor)
    return images


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def folder(pipe: TextToImagePipeline, tmp_path: Path) -> Path:
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_save_and_load_gives_the_same_picture_and_defaults(pipe: TextToImagePipeline, folder: Path) -> None:
    loaded = TextToImagePipeline.from_pretrained(folder)
    assert loaded.defaults == pipe.defaults and loaded.device == torch.device("cpu")
    assert torch.equal(picture(loaded), picture(pipe))
    assert [p.name for p in folder.parent.iterdir()] == ["model"], "something is left beside the model"


def test_half_precision_files_are_half_the_size_and_load_as_float32(
    pipe: TextToImagePipeline, folder: Path
) -> None:
    pipe.save_pretrained(folder.with_name("half"), dtype=torch.float16)
    for name in (name for name in FILES if name.endswith(".safetensors")):
        assert (folder.with_name("half") / name).stat().st_size < 0.6 * (folder / name).stat().st_size
    loaded = TextToImagePipeline.from_pretrained(folder.with_name("half"))
    assert all(p.dtype == torch.float32 for part in (loaded.vqgan, loaded.prior) for p in part.parameters())
    codes = torch.arange(16).view(1, 4, 4)
    assert torch.allclose(loaded.decode(codes), pipe.decode(codes), atol=5e-3)


def test_saving_again_replaces_the_model_and_keeps_the_files_beside_its_parts(
    make_pipe: Callable[..., TextToImagePipeline], folder: Path
) -> None:
    (folder / "README.md").write_text("a model")
    (folder / "eval").mkdir()
    (folder / "eval" / "metrics.json").write_text("{}")
    (folder / "prior" / "stale.bin").write_text("old")
    make_pipe(top_k=2).save_pretrained(folder)
    assert TextToImagePipeline.from_pretrained(folder).defaults.top_k == 2
    names = set(contents(folder))
    assert {"README.md", "eval/metrics.json"} <= names and "prior/stale.bin" not in names
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_missing_folders_on_the_way_are_made(pipe: TextToImagePipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(str(tmp_path / "a" / "b"))
    assert torch.equal(picture(TextToImagePipeline.from_pretrained(str(tmp_path / "a" / "b"))), picture(pipe))


@pytest.mark.parametrize("part", [VQGAN, M6Model, M6Tokenizer])
@pytest.mark.parametrize("before", [True, False])
def test_a_save_that_fails_leaves_what_was_there(
    pipe: TextToImagePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: type, before: bool
) -> None:
    target = tmp_path / "model"
    if before:
        pipe.save_pretrained(target)
    old = contents(tmp_path)

    def fail(self: object, directory: Path, **_: object) -> None:
        directory.mkdir()
        (directory / "config.json").write_text("half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(part, "save_pretrained", fail)
    with pytest.raises(OSError, match="No space left"):
        pipe.save_pretrained(target)
    assert contents(tmp_path) == old
    assert [p.name for p in tmp_path.iterdir()] == (["model"] if before else [])


def test_a_rename_that_fails_puts_the_old_model_back(
    pipe: TextToImagePipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, rename = contents(folder), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.suffix == ".new":
            raise PermissionError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        pipe.save_pretrained(folder)
    assert contents(folder) == old and [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_killed_save_leaves_no_half_written_model(folder: Path) -> None:
    """The process dies while its second part is being written."""
    code = (
        "import os, sys\n"
        "from m6_prior import M6Model\n"
        "from pipelines import TextToImagePipeline\n"
        "pipe = TextToImagePipeline.from_pretrained(sys.argv[1])\n"
        "M6Model.save_pretrained = lambda *a, **k: os._exit(9)\n"
        "pipe.save_pretrained(sys.argv[2])\n"
    )
    old = contents(folder)
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(folder)], check=False)
    assert done.returncode == 9
    assert contents(folder) == old


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "foreign"])
def test_a_damaged_folder_is_refused_in_one_line_that_names_it(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        half = content[: len(content) // 2]
        path.write_bytes({"truncated": half, "empty": b"", "foreign": b"\x89PNG\r\n"}[damage])
    with pytest.raises(ValueError, match="model") as caught:
        TextToImagePipeline.from_pretrained(folder)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message


@pytest.mark.parametrize("part", ["vqgan", "prior", "tokenizer"])
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(ValueError, match=f"has no {part}/; it is incomplete"):
        TextToImagePipeline.from_pretrained(folder)


def test_no_folder_and_no_model_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is not there"):
        TextToImagePipeline.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no model_index.json"):
        TextToImagePipeline.from_pretrained(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        TextToImagePipeline.from_pretrained(tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "StableDiffusionPipeline"}, "describes StableDiffusionPipeline, not Text"),
        ({"prior": ["diffusers", "PriorTransformer"]}, "another program"),
        ({"sampling": None}, "no sampling defaults"),
        ({"sampling": {"eta": 1}}, "defaults eta of another version"),
        ({"sampling": {"top_k": 999}}, "model: top_k 999 must be"),
        ({"sampling": {"top_p": "x"}}, "top_p 'x' must be a number"),
    ],
)
def test_a_foreign_index_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message):
        TextToImagePipeline.from_pretrained(folder)


def test_parts_of_different_models_are_refused_with_both_numbers(
    make_vqgan: Callable[..., VQGAN],
    make_prior: Callable[..., M6Model],
    make_tokenizer: Callable[..., M6Tokenizer],
    folder: Path,
) -> None:
    tokenizer = make_tokenizer()
    size = len(tokenizer)
    with pytest.raises(ValueError, match="codebook_size 32 of the vqgan is not the 24 of the prior"):
        TextToImagePipeline(make_vqgan(32), make_prior(size), tokenizer)
    with pytest.raises(ValueError, match=f"vocab_size {size} of the tokenizer is not the {size + 1} "):
        TextToImagePipeline(make_vqgan(), make_prior(size + 1), tokenizer)
    with pytest.raises(ValueError, match="max_length 13 of the tokenizer is above max_text_length 12"):
        TextToImagePipeline(make_vqgan(), make_prior(size), make_tokenizer(max_length=13))
    make_vqgan(32).save_pretrained(folder / "vqgan")
    with pytest.raises(ValueError, match="model: codebook_size 32 of the vqgan"):
        TextToImagePipeline.from_pretrained(folder)


def test_a_model_never_overwrites_other_files(pipe: TextToImagePipeline, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds files but no model"):
        pipe.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        pipe.save_pretrained(tmp_path / "thesis.txt")
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_no_heavy_package_is_imported_on_the_way_to_a_picture(folder: Path) -> None:
    code = (
        "import sys\n"
        "from pipelines import TextToImagePipeline\n"
        "pipe = TextToImagePipeline.from_pretrained(sys.argv[1])\n"
        "pipe(sys.argv[2], progress=False)\n"
        "heavy = {'diffusers', 'transformers', 'torchvision', 'vector_quantize_pytorch', 'rich'}\n"
        "print(*heavy & {*sys.modules})"
    )
    command = [sys.executable, "-c", code, str(folder), PROMPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
