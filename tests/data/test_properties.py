"""What a file says without its pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fakescan.data.properties import NAMES, jpeg_quality, properties
from fakescan.errors import ImageError


def read(path):
    return dict(zip(NAMES, properties(path).tolist(), strict=True))


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_read_off_its_table(tmp_path, photo, quality):
    photo(32, 24).save(tmp_path / "a.jpg", quality=quality)
    assert read(tmp_path / "a.jpg")["jpeg_quality"] == pytest.approx(quality, abs=1)


def test_quality_50_by_hand():
    assert jpeg_quality([3688]) == 50
    assert jpeg_quality([7376]) == 25
    assert jpeg_quality([1844]) == 75


@pytest.mark.parametrize(("subsampling", "number"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
def test_chroma_subsampling_is_read(tmp_path, photo, subsampling, number):
    photo(32, 24).save(tmp_path / "a.jpg", subsampling=subsampling)
    assert read(tmp_path / "a.jpg")["chroma_subsampling"] == number


def test_a_plain_png(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    values = read(tmp_path / "a.png")
    size = (tmp_path / "a.png").stat().st_size
    told = {name: value for name, value in values.items() if value}
    assert told == {
        "width": 30,
        "height": 20,
        "aspect": 1.5,
        "is_png": 1,
        "mode_L": 1,
        "jpeg_quality": -1,
        "chroma_subsampling": -1,
        "bits_per_pixel": pytest.approx(8 * size / 600),
    }


def test_metadata_is_noticed(tmp_path, photo):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    photo(32, 24).save(tmp_path / "exif.jpg", exif=exif)
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat")
    photo(32, 24).save(tmp_path / "text.png", pnginfo=text, icc_profile=b"profile")
    found = {
        name: [k for k, v in read(tmp_path / name).items() if k.startswith("has_") and v]
        for name in ("exif.jpg", "text.png")
    }
    assert found == {"exif.jpg": ["has_exif"], "text.png": ["has_icc", "has_text"]}


@pytest.mark.parametrize("suffix", ["webp", "avif", "tif", "bmp", "gif"])
def test_every_format_has_its_own_place(tmp_path, photo, suffix):
    path = tmp_path / f"a.{suffix}"
    photo(32, 24).save(path)
    name = {"tif": "tiff"}.get(suffix, suffix)
    assert [k for k, v in read(path).items() if k.startswith("is_") and v] == [f"is_{name}"]


def test_a_broken_file_is_an_image_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError):
        properties(tmp_path / "a.png")


def test_an_image_above_the_limit_of_pillow_and_below_ours_is_read(tmp_path, photo, monkeypatch):
    photo(32, 24).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(tmp_path / "a.png")["width"] == 32


HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.*"))


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_a_hostile_file_has_properties_or_a_reason(path):
    try:
        found = properties(path)
    except ImageError:
        return
    assert np.isfinite(found).all()
