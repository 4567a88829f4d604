"""Stores and batches: made once, remade when broken, read by a pure function of the step."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import recipes.data as data
from corpus.attributes import held_out
from recipes.config import DataConfig
from recipes.data import VALIDATION_SEED, PictureStore, batch_indices, draw_products, open_store, to_pixels
from recipes.drawing import draw_in_order

ROOT = Path(__file__).parent.parent.parent
SMALL = DataConfig(size=16, processes=1)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Thirty pictures of 20 x 30 pixels, each with a caption that says its grey level."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for i in range(30):
        Image.new("RGB", (20, 30), (8 * i, 8 * i, 8 * i)).save(folder / f"{i:02d}.png")
        (folder / f"{i:02d}.txt").write_text(f"灰度{8 * i}", "utf-8")
    return folder


@pytest.mark.parametrize(("num_samples", "batch_size"), [(10, 3), (7, 7), (5, 12), (1, 2)])
def test_every_epoch_is_a_permutation(num_samples: int, batch_size: int) -> None:
    stream = torch.cat([batch_indices(num_samples, batch_size, step, seed=3) for step in range(num_samples)])
    epochs = stream.view(-1, num_samples)
    assert len(epochs) == batch_size
    assert (epochs.sort(dim=1).values == torch.arange(num_samples)).all()
    if num_samples >= 7 and batch_size >= 3:
        assert (epochs[0] != epochs[1]).any()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    torch.manual_seed(0)
    first = batch_indices(100, 8, step=31, seed=5)
    torch.manual_seed(1)
    batch_indices(100, 8, step=2, seed=6)
    assert torch.equal(batch_indices(100, 8, step=31, seed=5), first)
    assert not torch.equal(batch_indices(100, 8, step=31, seed=6), first)


def test_pixels_span_minus_one_to_one() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, ..., 2] = 255
    pixels = to_pixels(images)
    assert pixels.shape == (2, 3, 4, 4) and pixels.dtype == torch.float32
    assert pixels[0].eq(-1).all() and pixels[1, 2].eq(1).all() and pixels[1, :2].eq(-1).all()


def test_a_store_is_made_once_and_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = open_store(tmp_path / "store", SMALL, 12, 0)

    def draw_again(*_: object) -> None:
        raise AssertionError("drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(data, "draw_in_order", draw_again)
        reused = open_store(tmp_path / "store", SMALL, 12, 0)
        assert np.array_equal(made.images, reused.images) and made.attributes == reused.attributes
        with pytest.raises(AssertionError, match="drawn again"):
            open_store(tmp_path / "store", SMALL, 13, 0)
    assert len(open_store(tmp_path / "store", SMALL, 13, 0)) == 13
    assert open_store(tmp_path / "store", DataConfig(size=24, processes=1), 13, 0).images.shape[1:] == (24, 24, 3)


def test_a_store_holds_what_was_drawn(tmp_path: Path) -> None:
    attributes, images = draw_products(5, "train", 16, 40, processes=1)
    store = open_store(tmp_path / "store", SMALL, 5, 40)
    assert np.array_equal(store.images, images)
    assert [tuple(names or ()) for names in store.attributes] == attributes
    assert torch.equal(store.pixels(torch.tensor([3, 1])), to_pixels(images[[3, 1]]))


@pytest.mark.parametrize("broken", ["images.bin", "rows.json", "made.json"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_half_made_store_is_made_again(tmp_path: Path, broken: str, how: str) -> None:
    whole = np.array(open_store(tmp_path, SMALL, 6, 0).images)
    path = tmp_path / broken
    path.unlink() if how == "missing" else path.write_bytes(path.read_bytes()[:-7])
    assert np.array_equal(open_store(tmp_path, SMALL, 6, 0).images, whole)


def test_training_sees_no_held_out_pair_and_titles_are_written_afresh(tmp_path: Path) -> None:
    store = open_store(tmp_path, SMALL, 700, 0)
    assert all(attributes is not None and not held_out(attributes) for attributes in store.attributes)
    indices = torch.arange(20)
    first, again = store.texts(indices, random.Random(1)), store.texts(indices, random.Random(1))
    assert first == again != store.texts(indices, random.Random(2))


def test_a_folder_is_split_without_overlap(tmp_path: Path, pairs: Path) -> None:
    config = DataConfig(corpus=str(pairs), size=16)
    training = open_store(tmp_path / "train", config, 100, 0)
    validation = open_store(tmp_path / "validation", config, 100, VALIDATION_SEED)
    assert (len(training), len(validation)) == (27, 3)
    assert not set(training.captions) & set(validation.captions)
    assert set(training.captions) | set(validation.captions) == {f"灰度{8 * i}" for i in range(30)}
    for store in (training, validation):
        for image, caption in zip(store.images, store.captions, strict=True):
            assert (image == int(caption.removeprefix("灰度"))).all()
    assert training.texts(torch.tensor([0, 26]), random.Random(0)) == ["灰度0", "灰度224"]


def test_count_limits_a_folder(tmp_path: Path, pairs: Path) -> None:
    assert len(open_store(tmp_path / "train", DataConfig(corpus=str(pairs), size=16), 4, 0)) == 4


def test_a_folder_too_small_or_missing_is_a_value_error(tmp_path: Path, pairs: Path) -> None:
    for path in sorted(pairs.glob("*"))[10:]:
        path.unlink()
    config = DataConfig(corpus=str(pairs), size=16)
    with pytest.raises(ValueError, match="10 or more"):
        open_store(tmp_path / "validation", config, 100, VALIDATION_SEED)
    with pytest.raises(ValueError, match="nowhere"):
        open_store(tmp_path / "train", DataConfig(corpus=str(tmp_path / "nowhere"), size=16), 100, 0)
    assert not PictureStore.is_whole(tmp_path / "train")


def test_processes_draw_the_same_pictures_in_order() -> None:
    parallel = draw_products(150, "all", 16, 0, processes=2)
    alone = draw_products(150, "all", 16, 0, processes=1)
    assert parallel[0] == alone[0]
    assert np.array_equal(parallel[1], alone[1])


def test_an_error_in_a_drawing_process_surfaces() -> None:
    with pytest.raises(ValueError, match="split 'nothing' is unknown"):
        list(draw_in_order(150, "nothing", 16, 0, processes=2))


def test_a_dying_drawing_process_is_a_value_error(tmp_path: Path) -> None:
    """A script without a __main__ guard starts itself again in each process, which multiprocessing refuses."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from recipes.drawing import draw_in_order\n"
        "try:\n    list(draw_in_order(150, 'train', 16, 0, processes=2))\n"
        "except ValueError as error:\n    print('refused:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert "refused: a drawing process died" in done.stdout


def test_drawing_processes_load_no_torch() -> None:
    code = "import recipes.drawing, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
