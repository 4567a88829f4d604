"""Each wrong input: one clear line on stderr, exit status 2, nothing written (issue: "Bad input")."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from app.main import app, main

ROOT = Path(__file__).parent.parent.parent
PROMPT = "红色高跟鞋"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refused(args: list[str], *said: str) -> None:
    """The command ends with status 2 and one line that has all of `said`."""
    done = CliRunner().invoke(app, args)
    lines = done.stderr.strip().splitlines()
    assert done.exit_code == 2, (done.exit_code, done.output, done.exception)
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for part in said:
        assert part in lines[0], lines[0]
    assert not done.stdout


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "made" / "a.png"


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_an_empty_prompt(out: Path, prompt: str) -> None:
    refused(["generate", prompt, "-o", str(out)], "empty")
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["鞋" * 15], ["17 tokens", "limit is 16"]),
        (["鞋" * 1001], ["1001 characters", "1000"]),
        (["犇鑫"], ["no word", "犇鑫"]),
        ([PROMPT, "--top-k", "0"], ["top_k 0", "16"]),
        ([PROMPT, "--top-k", "17"], ["top_k 17", "1 to 16"]),
        ([PROMPT, "--top-k", "-1"], ["top_k -1"]),
        ([PROMPT, "--top-p", "0"], ["top_p 0"]),
        ([PROMPT, "--top-p", "1.5"], ["top_p 1.5"]),
        ([PROMPT, "--temperature", "0"], ["temperature 0"]),
        ([PROMPT, "--temperature", "nan"], ["temperature nan"]),
        ([PROMPT, "--guidance", "-1"], ["guidance_scale -1"]),
        ([PROMPT, "--device", "abacus"], ["abacus", "cpu"]),
        ([PROMPT, "-n", "0"], ["0 must be 1 to 64"]),
        ([PROMPT, "-n", "65"], ["65 must be 1 to 64"]),
        ([PROMPT, "--seed", "-1"], ["seed -1", "0 to"]),
        ([PROMPT, "--seed", str(1 << 63)], ["seed", "0 to"]),
    ],
)
def test_prompts_and_settings_out_of_range(
    model_dir: Path, out: Path, args: list[str], said: list[str]
) -> None:
    refused(["generate", *args, "--model", str(model_dir), "-o", str(out)], *said)
    assert not out.parent.exists()


def test_outputs_that_cannot_be_written(model_dir: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("a file")
    command = ["generate", PROMPT, "--model", str(tmp_path / "not looked at"), "-o"]
    refused([*command, str(plain / "a.png")], "plain", "no folder")
    refused([*command, str(plain / "deeper" / "a.png")], "plain", "no folder")
    refused([*command, str(tmp_path)], "is a folder", "picture.png")
    refused([*command, str(tmp_path / "a.jpg")], ".png")
    (tmp_path / "a-1.png").mkdir()
    refused([*command, str(tmp_path / "a.png"), "-n", "2", "--each"], "a-1.png", "is a folder")
    long = tmp_path / f"{'x' * 300}.png"
    refused(["generate", PROMPT, "--model", str(model_dir), "-o", str(long)], "name too long")
    assert files(tmp_path) == [plain]


def break_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def cut_index(folder: Path) -> None:
    path = folder / "model_index.json"
    path.write_text(path.read_text()[:40])


def foreign_index(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


def cut_vqgan(folder: Path) -> None:
    path = folder / "vqgan" / "diffusion_pytorch_model.safetensors"
    os.truncate(path, path.stat().st_size // 2)


def cut_prior(folder: Path) -> None:
    path = folder / "prior" / "model.safetensors"
    os.truncate(path, 5)


def no_prior(folder: Path) -> None:
    shutil.rmtree(folder / "prior")


def foreign_prior(folder: Path) -> None:
    shutil.copy(
        folder / "vqgan" / "diffusion_pytorch_model.safetensors", folder / "prior" / "model.safetensors"
    )


def cut_words(folder: Path) -> None:
    path = folder / "tokenizer" / "vocab.txt"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:50]), "utf-8")


@pytest.mark.parametrize(
    "harm", [break_index, cut_index, foreign_index, cut_vqgan, cut_prior, no_prior, foreign_prior, cut_words]
)
def test_missing_truncated_and_foreign_checkpoints(model_dir: Path, tmp_path: Path, out: Path, harm) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "broken"
    shutil.copytree(model_dir, folder)
    harm(folder)
    refused(["generate", PROMPT, "--model", str(folder), "-o", str(out)], str(folder))
    assert not out.parent.exists()


def test_model_folders_that_are_none(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for command in (
        ["generate", PROMPT, "-o", str(out), "--model"],
        ["serve", "--port", "7871", "--model"],
        ["eval"],
    ):
        refused([*command, str(tmp_path / "absent")], "absent is not there")
    refused(["generate", PROMPT, "-o", str(out), "--model", str(tmp_path / "file")], "is a file")
    monkeypatch.setattr("app.models.MODELS", tmp_path)
    refused(["eval", "demo"], str(tmp_path / "demo"), "bundled")
    assert not out.parent.exists()


def test_a_full_disk_leaves_nothing_behind(
    model_dir: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.parent.mkdir()
    out.write_bytes(b"an older picture")

    def full(self: Image.Image, path: Path, *_: object, **__: object) -> None:
        Path(path).write_bytes(b"half a picture")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Image.Image, "save", full)
    refused(
        ["generate", PROMPT, "--model", str(model_dir), "-o", str(out)],
        "no space left on the disk",
        "free some",
    )
    assert files(out.parent) == [out] and out.read_bytes() == b"an older picture"


def test_a_full_disk_while_the_corpus_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    done = CliRunner().invoke(
        app, ["corpus", "products", str(tmp_path / "corpus"), "--count", "2", "--size", "32"]
    )
    assert done.exit_code == 2 and "no space left on the disk" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_whose_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    refused(["train", "demo", f"out={tmp_path / 'plain' / 'run'}"], "not a directory")


def test_sizes_off_the_code_grid(model_dir: Path, tmp_path: Path) -> None:
    import torch

    from vqgan import VQGAN

    with pytest.raises(ValueError, match="width 50 must be a multiple of 8"):
        VQGAN.from_pretrained(model_dir / "vqgan").encode(torch.zeros(1, 3, 48, 50))
    refused(["train", "demo", "data.size=101", f"out={tmp_path / 'run'}"], "101", "multiple of")
    refused(["train", "demo", "stage_one.model.sample_size=64", f"out={tmp_path / 'run'}"], "64", "96")
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere"], ["nowhere", "demo"]),
        (["demo", "steps"], ["steps", "key=value"]),
        (["demo", "data.colour=1"], ["data.colour"]),
        (["demo", "stage_one.loop.steps=many"], ["stage_one.loop.steps"]),
        (["demo", "stage_two.model.depth=3"], ["stage_two.model", "depth"]),
        (["demo", "stage_one.model.depth=3"], ["stage_one.model", "depth"]),
        (["demo", "stage_one.losses.beauty=3"], ["stage_one.losses", "beauty"]),
        (["demo", "stage_two.sampling.topk=3"], ["stage_two.sampling", "topk"]),
        (["demo", "stage_two.sampling.top_k=5000"], ["stage_two.sampling.top_k 5000"]),
    ],
)
def test_unknown_recipes_and_keys(tmp_path: Path, args: list[str], said: list[str]) -> None:
    refused(["train", *args, f"out={tmp_path / 'run'}"], *said)
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--count", "0"], "count 0"),
        (["--size", "8"], "size 8"),
        (["--split", "some"], "split 'some'"),
        (["--format", "zip"], "format 'zip'"),
        (["--seed", "-1"], "seed -1"),
        (["--processes", "-1"], "processes -1"),
    ],
)
def test_a_corpus_that_cannot_be_drawn(tmp_path: Path, args: list[str], said: str) -> None:
    refused(["corpus", "products", str(tmp_path / "corpus"), *args], said)
    assert not list(tmp_path.iterdir())


def test_a_corpus_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    done = CliRunner().invoke(app, ["corpus", "products", str(tmp_path), "--count", "1"])
    assert done.exit_code == 2 and "is not an empty folder" in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


TAMING_CONFIG = """
model:
  target: taming.models.vqgan.VQModel
  params:
    embed_dim: 8
    n_embed: 16
    ddconfig: {double_z: false, z_channels: 8, resolution: 32, in_channels: 3, out_ch: 3, ch: 32,
               ch_mult: [1, 1], num_res_blocks: 1, attn_resolutions: [], dropout: 0.0}
"""


@pytest.mark.parametrize("kind", ["taming", "llamagen"])
def test_checkpoints_that_cannot_be_imported(tmp_path: Path, kind: str) -> None:
    checkpoint, config, target = tmp_path / "last.ckpt", tmp_path / "model.yaml", tmp_path / "out"
    config.write_text(TAMING_CONFIG)
    extra = ["--config", str(config)] if kind == "taming" else []
    command = ["import", kind, "--checkpoint", str(checkpoint), *extra, "--out", str(target)]
    refused(command, "last.ckpt")
    checkpoint.write_bytes(b"no checkpoint at all")
    refused(command)
    assert not target.exists()


def test_an_open_page_needs_a_password() -> None:
    refused(["serve", "--host", "0.0.0.0"], "0.0.0.0", "--password")


def test_faults_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr("app.generate.check_request", fault)
    with pytest.raises(KeyError):
        main(["generate", PROMPT])


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M6_TRACEBACK", "1")
    with pytest.raises(ValueError, match="empty"):
        main(["generate", ""])


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.generate.check_request", stopped)
    done = CliRunner().invoke(app, ["generate", PROMPT])
    assert done.exit_code == 130 and done.stderr == "error: stopped\n"


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def test_the_real_command_on_a_disk_that_takes_no_more(model_dir: Path, out: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from app.main import main; main()",
            "generate",
            PROMPT,
            "--model",
            str(model_dir),
            "--seed",
            "1",
            "-o",
            str(out),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=limit_file_size,
        check=False,
    )
    assert done.returncode == 2 and not done.stdout, done
    assert len(done.stderr.strip().splitlines()) == 1 and "file too large" in done.stderr
    assert not files(out.parent)
