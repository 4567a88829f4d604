"""A picture file says how it was made and is never half-written; a grid holds its pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import read_picture_info, save_picture, to_grid

INFO = {"prompt": "军旅风迷彩高跟鞋", "seed": 7, "settings": {"top_k": 64, "temperature": 1.0}}


def colored(color: tuple[int, int, int] = (200, 30, 40)) -> Image.Image:
    return Image.new("RGB", (8, 6), color)


def test_info_and_pixels_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "鞋.png"
    save_picture(colored(), path, INFO)
    assert read_picture_info(path) == INFO
    with Image.open(path) as image:
        assert image.format == "PNG" and np.array_equal(np.asarray(image), np.asarray(colored()))
        assert image.info["prompt"] == INFO["prompt"]
    assert [p.name for p in path.parent.iterdir()] == ["鞋.png"]


def test_an_old_picture_survives_a_failed_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shoe.png"
    save_picture(colored(), path, INFO)
    old = path.read_bytes()

    def fail(self: Image.Image, file: Path, *_: object, **__: object) -> None:
        Path(file).write_bytes(old[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        save_picture(colored((0, 0, 0)), path, INFO)
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["shoe.png"]


def test_bad_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shoe.jpg must end in .png"):
        save_picture(colored(), tmp_path / "shoe.jpg", INFO)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        save_picture(colored(), tmp_path / "folder.png", INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_pictures_that_say_nothing_are_refused(tmp_path: Path) -> None:
    save_picture(colored(), tmp_path / "good.png", INFO)
    (tmp_path / "half.png").write_bytes((tmp_path / "good.png").read_bytes()[:-40])
    (tmp_path / "text.png").write_text("no picture")
    colored().save(tmp_path / "plain.png")
    for name, message in {
        "none.png": "is not there",
        "half.png": "broken",
        "text.png": "no picture",
        "plain.png": "does not say how it was made",
        "": "cannot be read|no picture",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_picture_info(tmp_path / name)


@pytest.mark.parametrize(
    ("count", "columns", "shape"),
    [(1, 0, (1, 1)), (4, 0, (2, 2)), (5, 0, (2, 3)), (3, 3, (1, 3)), (3, 2, (2, 2))],
)
def test_a_grid_holds_its_pictures_in_reading_order(count: int, columns: int, shape: tuple[int, int]) -> None:
    images = [colored((i * 20, 0, 0)) for i in range(count)]
    grid = np.asarray(to_grid(images, columns))
    assert grid.shape == (shape[0] * 6, shape[1] * 8, 3)
    cells = grid.reshape(shape[0], 6, shape[1], 8, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 6, 8, 3)
    assert all((cells[i] == np.asarray(image)).all() for i, image in enumerate(images))
    assert (cells[count:] == 255).all()


def test_a_gap_is_white_and_only_between() -> None:
    grid = np.asarray(to_grid([colored(), colored()], columns=2, gap=3))
    assert grid.shape == (6, 19, 3) and (grid[:, 8:11] == 255).all() and (grid[:, 11:] != 255).any(-1).all()


def test_no_pictures_and_different_sizes_make_no_grid() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        to_grid([])
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(8, 6\)"):
        to_grid([colored(), Image.new("RGB", (4, 4))])
