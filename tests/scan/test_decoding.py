"""`--decode fast`: which JPEGs are scaled while they are decoded, and what stays as it is."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fakescan.errors import ImageTooLarge, ImageUnreadable
from fakescan.image import Limits, Preprocess, needed_px, opened
from fakescan.records import Summary
from fakescan.scan.cache import NAME, ScoreCache
from fakescan.scan.crop import Extras, crop_bytes
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.scan.recall import scorer_of
from fakescan.session import OnnxSession
from tiny import METADATA, write_tiny

CROP, RESIZE, PAD = (Preprocess(image_px=16, geometry=g) for g in ("crop", "resize", "pad"))


def encoded(size=(800, 600), kind="JPEG", **options):
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize(size).save(stream, kind, **options)
    return stream.getvalue()


def on_its_side():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(exif=exif)


def pixels(data, preprocess, decoding):
    return crop_bytes(data, preprocess, Limits(), decoding=decoding).pixels


@pytest.mark.parametrize("preprocess", [CROP, PAD])
def test_what_looks_at_native_pixels_is_never_scaled(preprocess):
    assert needed_px(preprocess, "fast") is None
    data = encoded()
    assert np.array_equal(pixels(data, preprocess, "fast"), pixels(data, preprocess, "exact"))


def test_a_large_jpeg_is_scaled_to_twice_what_is_needed_or_more():
    large = replace(RESIZE, image_px=160)
    for size, left in (((1300, 1280), (325, 320)), ((800, 1200), (400, 600)), ((900, 636),) * 2):
        with opened(encoded(size), short_px=needed_px(large, "fast")) as (image, picture):
            assert (image.size, (picture.width, picture.height)) == (left, size)
    with opened(encoded((1300, 1280)), short_px=needed_px(large, "exact")) as (image, _):
        assert image.size == (1300, 1280)


def test_a_small_picture_is_never_made_from_a_smaller_one():
    found = crop_bytes(encoded((900, 512)), RESIZE, Limits(), Extras(thumbnails=True), "fast")
    assert Image.open(io.BytesIO(found.thumbnail)).size == (128, 73)


def test_scaled_pixels_are_nearly_the_same():
    data = encoded(quality=95)
    fast, exact = (pixels(data, RESIZE, d).astype(float) for d in ("fast", "exact"))
    assert 0 < np.abs(fast - exact).mean() < 4


@pytest.mark.parametrize("data", [encoded(kind="PNG"), encoded((500, 400))], ids=["png", "small"])
def test_other_formats_and_small_images_are_decoded_whole(data):
    assert np.array_equal(pixels(data, RESIZE, "fast"), pixels(data, RESIZE, "exact"))


def test_reports_show_the_size_of_the_whole_image_upright():
    assert [
        (c.width, c.height, Image.open(io.BytesIO(c.thumbnail)).size)
        for data in (encoded(), on_its_side())
        for decoding in ("fast", "exact")
        for c in [crop_bytes(data, RESIZE, Limits(), Extras(thumbnails=True), decoding)]
    ] == [(800, 600, (128, 96))] * 2 + [(600, 800, (96, 128))] * 2


def test_limits_look_at_the_whole_image():
    with pytest.raises(ImageTooLarge, match=r"0\.48 megapixels; the limit is 0\.3"):
        crop_bytes(encoded(), RESIZE, Limits(max_megapixels=0.3), decoding="fast")


def test_a_truncated_jpeg_is_damaged_however_it_is_decoded():
    data = encoded()
    for decoding in ("fast", "exact"):
        with pytest.raises(ImageUnreadable, match="damaged: image file is truncated"):
            pixels(data[: len(data) // 2], RESIZE, decoding)


def test_perturbations_are_applied_to_all_pixels():
    assert ScanSettings(perturbations=("jpeg:75",), decoding="fast").decoding == "exact"
    assert ScanSettings(decoding="fast").decoding == "fast"


def test_scores_of_scaled_and_whole_images_are_kept_apart(tmp_path, tiny, cache_folder):
    (tmp_path / "a.jpg").write_bytes(encoded((800, 600)))
    metadata = replace(METADATA, preprocess=replace(METADATA.preprocess, geometry="resize"))
    resizing = OnnxSession(write_tiny(tmp_path / "resizing.onnx", metadata.to_json()))

    def run(session, decoding):
        summary = Summary()
        with ScoreCache(cache_folder / NAME, scorer_of(session, decoding)) as cache:
            settings = ScanSettings(workers=1, decoding=decoding)
            path = str(tmp_path / "a.jpg")
            (found,) = scan([path], session, settings, summary, cache=cache)
        return found.logit, summary.cached

    fast, exact = run(resizing, "fast"), run(resizing, "exact")
    assert fast[0] != exact[0]
    assert (run(resizing, "fast"), run(resizing, "exact")) == ((fast[0], 1), (exact[0], 1))
    assert [fast[1], exact[1]] == [0, 0]
    cropping = OnnxSession(tiny)
    assert run(cropping, "fast") == (run(cropping, "exact")[0], 0)
    assert run(cropping, "fast")[1] == 1
