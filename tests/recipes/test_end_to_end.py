"""A recipe from nothing to its table, small: every step runs, is kept, and is not done twice."""

import json
from pathlib import Path

import pytest

import recipes.evaluate
import recipes.judge
from pipelines import TextToImagePipeline
from recipes.train import train

SMALL = (
    "data.size=32", "data.count=48", "data.validation_count=8", "data.processes=1",
    "stage_one.model.base_channels=32", "stage_one.model.codebook_size=32", "stage_one.loop.steps=12",
    "stage_one.loop.minutes=0", "stage_two.model.hidden_size=32", "stage_two.model.num_layers=1",
    "stage_two.sampling.top_k=8", "stage_two.loop.steps=4", "stage_two.loop.minutes=0",
    "evaluation.count=6", "evaluation.judge.steps=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the judge is kept in runs/
        patch.setattr(recipes.judge, "NUM_RENDERS", 96)
        patch.setattr(recipes.evaluate, "NUM_FRESH_RENDERS", 24)
        train("demo", [f"out={folder / 'run'}", *SMALL])
        made = {path: path.stat().st_mtime_ns for path in (folder / "run" / "model").rglob("*")}
        train("demo", [f"out={folder / 'run'}", *SMALL])
    assert made == {path: path.stat().st_mtime_ns for path in (folder / "run" / "model").rglob("*")}
    return folder


def test_a_recipe_makes_a_model_folder_with_its_sampling_defaults(run: Path) -> None:
    pipe = TextToImagePipeline.from_pretrained(run / "run" / "model")
    assert pipe.defaults.top_k == 8 and pipe("红色高跟鞋", seed=0, progress=False).images[0].size == (32, 32)
    settings = json.loads((run / "run" / "model" / "recipe.json").read_text("utf-8"))
    assert settings["stage_two"]["loop"]["steps"] == 4


def test_the_table_has_every_row_and_its_sheets(run: Path) -> None:
    folder = run / "run" / "eval"
    rows = json.loads((folder / "metrics.json").read_text("utf-8"))
    drawn = ("seen pairs", "held-out category-pattern", "held-out category-colour")
    assert list(rows) == ["true renders", "reconstructions", *drawn, "one picture"]
    for label in ("true renders", "reconstructions", *drawn):
        row = rows[label]
        assert 0 <= row["all"] <= min(row["category"], row["color"], row["pattern"]) <= 1
    assert rows["reconstructions"]["psnr"] > 0 and 1 <= rows["reconstructions"]["codes_used"] <= 32
    sheets = {path.name for path in folder.glob("*.png")}
    assert sheets == {"reconstructions.png", "train.png", "held_out_pattern.png", "held_out_color.png"}
    for split in ("train", "held_out_pattern", "held_out_color"):
        titles = (folder / f"{split}.titles.txt").read_text("utf-8").splitlines()
        assert len(titles) == len(set(titles)) == 6
    assert (run / "runs" / "judge-4-32-0" / "judge.safetensors").is_file()
