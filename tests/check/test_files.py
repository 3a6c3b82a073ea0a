"""What is read of each file, in worker processes."""

import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from fakescan.check import files
from fakescan.check.files import read_facts, read_files
from fakescan.data.samples import Sample
from fakescan.errors import ImageError

HOSTILE = Path(__file__).resolve().parents[1] / "data" / "hostile"


def sample(path):
    return Sample(path=path, key=path.name, label=0, source="")


def misbehave(path):
    """In place of reading: die, or take long, as the file's name says."""
    if path.stem == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.stem == "hang":
        signal.pause()
    return str(path.stem)


def test_facts_are_of_the_upright_picture_and_of_the_bytes(tmp_path):
    image = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    image.save(tmp_path / "a.jpg", quality=85, exif=exif)
    image.save(tmp_path / "b.png")
    jpeg, png = read_facts(tmp_path / "a.jpg"), read_facts(tmp_path / "b.png")
    assert (jpeg.width, jpeg.height, jpeg.format, png.format) == (30, 40, "JPEG", "PNG")
    assert jpeg.jpeg_quality == pytest.approx(85, abs=0.6)
    assert png.jpeg_quality is None
    assert jpeg.sha256 != png.sha256


def test_a_blank_image_has_no_look(tmp_path):
    Image.new("RGB", (40, 30), "white").save(tmp_path / "blank.png")
    assert read_facts(tmp_path / "blank.png").look is None


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match="not an image"):
        read_facts(tmp_path / "a.png")


def test_every_sample_comes_back_in_order_hostile_ones_with_a_reason():
    paths = sorted(HOSTILE.iterdir())[::4]
    assert len(paths) > 20
    readings = list(read_files([sample(path) for path in paths], workers=2))
    assert [r.sample.path for r in readings] == paths
    assert all((r.facts is None) == bool(r.error) for r in readings)
    assert any(r.facts is None for r in readings)


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_a_crash_and_a_hang_cost_one_file_each(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_read", misbehave)
    names = ["a", "crash", "b", "hang", "c", "d"]
    readings = list(
        read_files([sample(tmp_path / name) for name in names], workers=2, timeout_s=1.5)
    )
    assert [r.error for r in readings] == [
        "a",
        "the decoder crashed on it",
        "b",
        "took longer than 1.5 s",
        "c",
        "d",
    ]


def test_whoever_stops_asking_does_not_wait_for_the_rest(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    readings = read_files([sample(tmp_path / "a.png")] * 200, workers=1)
    assert next(readings).facts is not None
    readings.close()
