"""`m6 generate`: what lands in the file, and that the same seed draws it again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.generate import BATCH, default_output, generate
from app.main import app
from pipelines import read_picture_info

PROMPT = "红色高跟鞋"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_the_file_keeps_the_prompt_the_seed_and_the_settings(model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "鞋.png"
    command = [
        "generate",
        PROMPT,
        "--seed",
        "7",
        "--top-k",
        "3",
        "--guidance",
        "1.5",
        "--model",
        str(model_dir),
    ]
    done = CliRunner().invoke(app, [*command, "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert str(out) in done.stdout and "seed 7" in done.stdout
    info = read_picture_info(out)
    assert info["prompt"] == PROMPT and info["seed"] == 7 and info["model"] == "tiny"
    assert (info["top_k"], info["guidance_scale"], info["top_p"], info["temperature"]) == (3, 1.5, 1.0, 1.0)
    assert [path.name for path in out.parent.iterdir()] == ["鞋.png"], "something else was left behind"


def test_a_grid_holds_the_pictures_of_the_seeds_that_follow(model_dir: Path, tmp_path: Path) -> None:
    written = generate(PROMPT, 4, 10, model=str(model_dir), output=tmp_path / "grid.png", each=True)
    assert [path.name for path in written.paths] == ["grid.png", *(f"grid-{i}.png" for i in range(1, 5))]
    grid, third = pixels(written.paths[0]), pixels(written.paths[3])
    assert (grid[32:, :32] == third).all()
    alone = generate(PROMPT, 1, 12, model=str(model_dir), output=tmp_path / "alone.png")
    assert (pixels(alone.paths[0]) == third).all(), "seed 12 alone differs from seed 12 in the grid"
    assert read_picture_info(written.paths[3])["seed"] == 12
    assert read_picture_info(written.paths[0])["num_images"] == 4


def test_more_pictures_than_a_batch_have_seeds_of_their_own(model_dir: Path, tmp_path: Path) -> None:
    count = BATCH + 1
    written = generate(PROMPT, count, 0, model=str(model_dir), output=tmp_path / "grid.png", each=True)
    last = generate(PROMPT, 1, count - 1, model=str(model_dir), output=tmp_path / "last.png")
    assert (pixels(written.paths[-1]) == pixels(last.paths[0])).all()


def test_without_a_seed_a_new_one_is_drawn_printed_and_kept(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = set()
    for _ in range(2):
        done = CliRunner().invoke(app, ["generate", PROMPT, "--model", str(model_dir)])
        assert done.exit_code == 0, done.output
        path = Path(done.stdout.split("  (")[0])
        assert path.parent == Path("outputs") and path.name.startswith(PROMPT)
        seed = read_picture_info(path)["seed"]
        assert f"seed {seed})" in done.stdout
        seeds.add(seed)
    assert len(seeds) == 2


def test_default_names_never_hit_an_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = default_output("a/b 红色?", 3)
    assert first == Path("outputs/a_b_红色-3.png")
    first.parent.mkdir()
    first.touch()
    assert default_output("a/b 红色?", 3) == Path("outputs/a_b_红色-3-2.png")
    assert len(default_output("鞋" * 500, 3).name.encode()) < 255


def test_words_outside_the_vocabulary_are_said_and_the_picture_is_made(
    model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.png"
    done = CliRunner().invoke(app, ["generate", "红色犇鑫高跟鞋", "--model", str(model_dir), "-o", str(out)])
    assert done.exit_code == 0 and out.is_file()
    assert "犇" in done.stderr and "鑫" in done.stderr and "红" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
