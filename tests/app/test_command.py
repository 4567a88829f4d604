"""The command as a shell runs it: quick help, the corpus it writes, what it hands to the recipes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.main import app
from corpus.readers import open_corpus
from corpus.samples import sample_product

ROOT = Path(__file__).parent.parent.parent
COMMANDS = ("generate", "serve", "import", "corpus", "train", "eval")


def shell(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_tells_every_command_and_loads_nothing_heavy() -> None:
    done = shell(
        "import sys\nfrom app.main import main\ntry:\n    main(['--help'])\nfinally:\n"
        "    heavy = {'torch', 'numpy', 'PIL', 'gradio', 'omegaconf', 'tokenizers'}\n"
        "    print('loaded', sorted(heavy & set(sys.modules)))"
    )
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)
    assert "loaded []" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["generate"],
        ["serve"],
        ["import"],
        ["import", "taming"],
        ["import", "llamagen"],
        ["corpus", "products"],
        ["train"],
        ["eval"],
    ],
)
def test_each_command_has_its_help(args: list[str]) -> None:
    done = CliRunner().invoke(app, [*args, "--help"])
    assert done.exit_code == 0 and "Usage: " in done.stdout


def test_wrong_usage_is_status_2() -> None:
    for args in (["draw"], ["generate"], ["generate", "红", "--top-k", "many"], ["import", "taming"]):
        assert CliRunner().invoke(app, args).exit_code == 2


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_the_corpus_is_what_the_drawing_gives(tmp_path: Path, form: str) -> None:
    out = tmp_path / "corpus"
    args = ["--count", "3", "--size", "32", "--seed", "5", "--split", "held_out_color", "--format", form]
    done = CliRunner().invoke(app, ["corpus", "products", str(out), *args])
    assert done.exit_code == 0 and "3 pictures" in done.stdout, done.output
    samples = list(open_corpus(out))
    assert len(samples) == 3
    for seed, sample in enumerate(samples, 5):
        drawn = sample_product(seed, "held_out_color", 32)
        assert sample.text == drawn.title and (np.asarray(sample.image) == drawn.image).all()


def test_several_processes_draw_the_same_samples_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    from app import products

    monkeypatch.setattr(products, "FEW", 0)
    monkeypatch.setattr(products, "BLOCK", 4)
    drawn = list(products.draw_samples(6, 16, "train", 3, processes=2))
    assert [sample.seed for sample in drawn] == list(range(3, 9))
    assert all((sample.image == sample_product(sample.seed, "train", 16).image).all() for sample in drawn)


def test_train_and_eval_hand_over_what_was_said(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr("recipes.train.train", lambda recipe, overrides: said.extend((recipe, overrides)))
    monkeypatch.setattr("recipes.evaluate.evaluate", lambda *args: said.extend(args))
    assert CliRunner().invoke(app, ["train", "demo", "stage_two.loop.steps=1", "out=x"]).exit_code == 0
    assert CliRunner().invoke(app, ["eval", str(model_dir), "--out", "sheets", "--count", "5"]).exit_code == 0
    assert said == ["demo", ["stage_two.loop.steps=1", "out=x"], str(model_dir), "sheets", 5]
