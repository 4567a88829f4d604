"""Recipes: what a person gets wrong is named."""

from pathlib import Path

import pytest

from recipes.config import LoopConfig, build, load_recipe


def test_the_demo_recipe_loads_and_takes_overrides() -> None:
    config = load_recipe("demo", ["stage_one.loop.steps=7", "stage_two.model.num_layers=2", "out=elsewhere"])
    assert config.stage_one.loop.steps == 7
    assert config.stage_two.model["num_layers"] == 2
    assert config.out == "elsewhere"
    assert isinstance(config.evaluation.judge, LoopConfig)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("stage_one.loop.stepz=7", "stage_one.loop.stepz"),
        ("stages.count=7", "stages"),
        ("data.count=many", "data.count"),
        ("stage_two.loop.learning_rate=fast", "stage_two.loop.learning_rate"),
        ("data.count=0", "data.count 0"),
        ("stage_one.loop.steps=0", "stage_one.loop.steps 0"),
        ("stage_two.loop.batch_size=-4", "stage_two.loop.batch_size -4"),
        ("stage_one.loop.minutes=-1", "stage_one.loop.minutes"),
        ("stage_two.loop.ema_decay=1.5", "stage_two.loop.ema_decay 1.5"),
        ("evaluation.judge.precision=fp8", "evaluation.judge.precision 'fp8'"),
        ("stage_two.loop.learning_rate=nan", "stage_two.loop.learning_rate nan"),
        ("stage_one.loop.steps", "'stage_one.loop.steps' needs the form key=value"),
    ],
)
def test_a_wrong_override_is_named_in_one_line(override: str, named: str) -> None:
    with pytest.raises(ValueError) as caught:
        load_recipe("demo", [override])
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_lists_those_that_are_there() -> None:
    with pytest.raises(ValueError, match="recipe 'dmeo' not found.*demo"):
        load_recipe("dmeo")
    with pytest.raises(ValueError, match="nowhere.yaml"):
        load_recipe("nowhere.yaml")


@pytest.mark.parametrize("text", ["data: [", "- a\n- b", "data: [1, 2]", "justaword", "data:\n  countt: 3", "data: 5"])
def test_a_broken_file_is_a_value_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="mine.yaml"):
        load_recipe(str(path))


def test_a_file_that_is_no_text_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00data")
    with pytest.raises(ValueError, match="mine.yaml"):
        load_recipe(str(path))


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("")
    assert load_recipe(str(path)).data.corpus == "products"


def test_build_names_the_section_of_an_unknown_field() -> None:
    with pytest.raises(ValueError, match="judge.*stepz"):
        build(LoopConfig, {"stepz": 3}, "judge")
    assert build(LoopConfig, {"steps": 3}, "judge").steps == 3
