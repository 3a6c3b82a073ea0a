import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakescan.errors import ImageError, ImageTooLarge, ImageUnreadable, ImageUnsupported
from fakescan.image import Limits, Preprocess
from fakescan.scan.crop import THUMBNAIL_PX, Extras, crop_bytes, crop_file, thumbnail

PREPROCESS = Preprocess(image_px=16)
HOSTILE = Path(__file__).parents[1] / "data" / "hostile"
PILLOWS_OWN_LIMIT = Image.MAX_IMAGE_PIXELS


def crop(path, **limits):
    return crop_file(path, PREPROCESS, Limits(**limits))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "bmp", "gif"])
def test_every_format_is_read(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.new("RGB", (30, 20), "white").save(path)
    found = crop(path)
    assert (found.width, found.height) == (30, 20)
    assert found.format == {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    assert found.pixels.shape == (1, 16, 16, 3)
    assert found.pixels.min() >= 253


def test_a_wrong_suffix_does_not_matter(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "image.jpg", "PNG")
    assert crop(tmp_path / "image.jpg").format == "PNG"


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (0, 0, 0, 0), 255),  # transparent: white shows
        ("LA", (0, 0), 255),
        ("L", 7, 7),
        ("1", 1, 255),
        ("I;16", 0x1234, 0x12),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(tmp_path, mode, colour, expected):
    Image.new(mode, (20, 20), colour).save(tmp_path / "image.png")
    assert np.unique(crop(tmp_path / "image.png").pixels).tolist() == [expected]


def test_cmyk_and_animations_are_read(tmp_path):
    Image.new("CMYK", (20, 20), (0, 0, 0, 255)).save(tmp_path / "cmyk.jpg")
    assert crop(tmp_path / "cmyk.jpg").pixels.max() < 10
    frames = [Image.new("L", (20, 20), 0), Image.new("L", (20, 20), 255)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert crop(tmp_path / "two.gif").pixels.max() == 0  # the first frame


def test_exif_orientation_turns_the_size(tmp_path):
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    found = crop(tmp_path / "turned.jpg")
    assert (found.width, found.height) == (20, 30)


@pytest.mark.parametrize(
    ("data", "reason", "kind"),
    [
        (b"", "the file is empty", ImageUnreadable),
        (b"\x89PNG\r\n\x1a\nnothing", "damaged: only its start is PNG", ImageUnreadable),
        (b"8BPS" + bytes(60), "not an image that fakescan reads", ImageUnsupported),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image that fakescan reads", ImageUnsupported),
    ],
)
def test_what_is_no_image_says_why(tmp_path, data, reason, kind):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(kind, match=reason):
        crop(tmp_path / "file")
    with pytest.raises(kind, match=reason):
        crop_bytes(data, PREPROCESS, Limits())


def test_a_truncated_image_is_damaged(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 60, 3), np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    with pytest.raises(ImageUnreadable, match="damaged"):
        crop_bytes(data[: len(data) // 2], PREPROCESS, Limits())


def test_heic_without_the_extra_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    monkeypatch.setattr("fakescan.scan.crop._has_heif", lambda: False)
    with pytest.raises(ImageUnsupported, match=r"pip install fakescan\[heif\]"):
        crop(tmp_path / "a.heic")


def test_too_many_pixels_are_refused_from_the_header(tmp_path):
    Image.new("1", (3000, 2000)).save(tmp_path / "big.png")
    with pytest.raises(ImageTooLarge, match="6 megapixels; the limit is 5"):
        crop(tmp_path / "big.png", max_megapixels=5)


def test_a_frame_larger_than_its_image_is_refused_before_it_takes_memory():
    data = (HOSTILE / "fuzz-frame-beyond-its-image.gif").read_bytes()
    with pytest.raises(ImageTooLarge, match=r"11126\.01 megapixels; the limit is 250"):
        crop_bytes(data, PREPROCESS, Limits())
    assert Image.MAX_IMAGE_PIXELS == PILLOWS_OWN_LIMIT


@pytest.mark.slow
def test_200_megapixels_pass_and_more_than_250_do_not(tmp_path):
    Image.new("L", (20_000, 10_000), 255).save(tmp_path / "big.png", compress_level=1)
    Image.new("1", (16_000, 16_000)).save(tmp_path / "bomb.png")
    found = crop(tmp_path / "big.png")
    assert (found.width, found.height, found.pixels.min()) == (20_000, 10_000, 255)
    with pytest.raises(ImageTooLarge, match="16000x16000 is 256 megapixels; the limit is 250"):
        crop(tmp_path / "bomb.png")


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs on Windows")
def test_a_fifo_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageUnreadable, match="not a regular file"):
        crop(tmp_path / "pipe.png")  # opening it would wait for ever


def test_a_file_that_is_gone_says_so(tmp_path):
    with pytest.raises(ImageError, match="the file is gone"):
        crop(tmp_path / "gone.png")


MODES = ("RGB", "RGBA", "LA", "L", "1", "P", "CMYK", "I;16", "YCbCr")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (60, 20), (129, 128), (900, 700), (3, 3000)])
def test_a_thumbnail_is_small_rgb_and_leaves_the_image_as_it_is(mode, size):
    image = Image.new(mode, size)
    found = Image.open(io.BytesIO(thumbnail(image)))
    assert (found.format, found.mode) == ("WEBP", "RGB")
    longer = min(max(size), THUMBNAIL_PX)
    assert max(found.size) == longer
    assert found.size == tuple(max(1, round(longer * side / max(size))) for side in size)
    assert (image.mode, image.size) == (mode, size)


def test_a_thumbnail_carries_none_of_the_files_metadata(tmp_path):
    image = Image.new("RGB", (300, 200))
    exif = image.getexif()
    exif[0x010E] = "where I live"
    image.save(tmp_path / "a.jpg", exif=exif, icc_profile=b"profile of mine", comment=b"secret")
    found = crop_file(tmp_path / "a.jpg", PREPROCESS, Limits(), Extras(thumbnails=True)).thumbnail
    for text in (b"where I live", b"profile of mine", b"secret"):
        assert text in (tmp_path / "a.jpg").read_bytes()
        assert text not in found


def test_extras_are_only_made_when_asked_for(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    plain = crop(tmp_path / "a.png")
    assert (plain.sha256, plain.thumbnail) == (None, None)
    hashed = crop_file(tmp_path / "a.png", PREPROCESS, Limits(), Extras(hashes=True))
    assert hashed.sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert hashed.thumbnail is None
