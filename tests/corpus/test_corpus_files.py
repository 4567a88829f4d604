import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from corpus.readers import open_corpus, read_imagefolder, read_pairs, read_webdataset
from corpus.samples import sample_products
from corpus.writers import write_imagefolder, write_webdataset


@pytest.fixture(scope="module")
def samples():
    return list(sample_products(5, size=32))


def assert_same(read, samples):
    read = list(read)
    assert len(read) == len(samples)
    for mine, theirs in zip(read, samples, strict=True):
        assert np.array_equal(np.asarray(mine.image), theirs.image)
        assert mine.text == theirs.title
        assert mine.attributes == theirs.attributes._asdict()


def test_imagefolder_gives_back_what_was_written(tmp_path, samples):
    assert write_imagefolder(tmp_path / "out", samples) == 5
    assert_same(read_imagefolder(tmp_path / "out"), samples)
    assert_same(open_corpus(tmp_path / "out"), samples)


def test_webdataset_gives_back_what_was_written(tmp_path, samples):
    assert write_webdataset(tmp_path / "out", samples, samples_per_shard=2) == 5
    assert len(list((tmp_path / "out").glob("*.tar"))) == 3
    assert_same(read_webdataset(tmp_path / "out"), samples)
    assert_same(open_corpus(tmp_path / "out" / "000000.tar"), samples[:2])


def test_pairs_are_read_with_transparency_on_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("红色沙发\n", encoding="utf-8")
    (sample,) = open_corpus(tmp_path)
    assert sample.text == "红色沙发" and sample.attributes is None
    assert sample.image.getpixel((0, 0)) == (255, 255, 255)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(ValueError, match="a.txt is missing"):
        list(read_pairs(tmp_path))


def test_a_failed_write_leaves_nothing(tmp_path, samples):
    def broken():
        yield samples[0]
        raise RuntimeError("stop")

    for write in (write_imagefolder, write_webdataset):
        with pytest.raises(RuntimeError):
            write(tmp_path / "out", broken())
        assert not list(tmp_path.iterdir())


def test_bad_places_are_named(tmp_path, samples):
    write_imagefolder(tmp_path / "out", samples[:1])
    with pytest.raises(ValueError, match="not an empty folder"):
        write_imagefolder(tmp_path / "out", samples)
    with pytest.raises(ValueError, match="samples_per_shard 0"):
        write_webdataset(tmp_path / "new", samples, 0)
    with pytest.raises(ValueError, match="does not exist"):
        open_corpus(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is no corpus"):
        open_corpus(tmp_path / "empty")


def test_broken_files_are_named(tmp_path, samples):
    write_webdataset(tmp_path / "out", samples)
    shard = tmp_path / "out" / "000000.tar"
    shard.write_bytes(shard.read_bytes()[:1500])
    with pytest.raises(ValueError, match="000000.tar"):
        list(read_webdataset(shard))
    write_imagefolder(tmp_path / "folder", samples[:1])
    (tmp_path / "folder" / "00000000.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="00000000.png is no picture"):
        list(read_imagefolder(tmp_path / "folder"))
    row = {"file_name": "../out/000000.tar", "text": "x"}
    (tmp_path / "folder" / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match="outside its folder"):
        list(read_imagefolder(tmp_path / "folder"))
    with tarfile.open(tmp_path / "bare.tar", "w"):
        pass
    assert list(read_webdataset(tmp_path / "bare.tar")) == []
