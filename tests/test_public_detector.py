import io
import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakescan import Detector, Finding, Verdict
from fakescan.errors import ConfigError, WeightsError
from tiny import METADATA


@pytest.fixture(scope="module")
def detector(tiny):
    return Detector(tiny, batch_size=3)


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_every_kind_of_item_gets_the_same_score(tmp_path, detector):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    image = Image.fromarray(pixels)
    path = tmp_path / "image.png"
    path.write_bytes(png(image))
    findings = list(detector.score([str(path), path, png(image), image, pixels]))
    assert len({f.score for f in findings}) == 1
    assert [f.path for f in findings] == [str(path), str(path), "item 2", "item 3", "item 4"]
    assert [f.format for f in findings] == ["PNG", "PNG", "PNG", None, None]
    assert {(f.width, f.height, f.detector) for f in findings} == {(50, 40, detector.fingerprint)}


def test_items_that_cannot_be_scored_are_findings_in_their_place(tmp_path, detector):
    white = Image.new("RGB", (20, 20), "white")
    floats = Image.new("F", (20, 20))
    items = iter([b"junk", white, tmp_path / "gone", white, floats, white])
    findings = list(detector.score(items))
    assert [f.verdict for f in findings] == [
        Verdict.ERROR, Verdict.FAKE, Verdict.ERROR, Verdict.FAKE, Verdict.ERROR, Verdict.FAKE,
    ]  # fmt: skip
    assert findings[2].error == "no such file"
    assert isinstance(findings[0], Finding)
    assert list(detector.score([])) == []


def test_findings_come_while_items_do(detector):
    endless = itertools.repeat(Image.new("RGB", (20, 20), "white"))
    findings = detector.score(endless)
    assert [f.path for f in itertools.islice(findings, 4)] == [f"item {i}" for i in range(4)]


def test_an_image_that_is_handed_over_is_turned_and_left_alone(detector):
    image = Image.new("RGB", (30, 20))
    image.getexif()[0x0112] = 6
    (finding,) = detector.score([image])
    assert (finding.width, finding.height) == (20, 30)
    assert image.size == (30, 20)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_arrays_are_as_images_of_that_kind(detector, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 4), np.uint8)
    array = pixels if mode == "RGBA" else np.ascontiguousarray(pixels[:, :, 0])
    by_array, by_file = detector.score([array, png(Image.fromarray(array))])
    assert by_array.verdict is not Verdict.ERROR
    assert (by_array.score, by_array.width) == (by_file.score, by_file.width)


@pytest.mark.parametrize("item", ["photo.jpg", b"bytes", Path("a"), np.zeros((9, 9, 3), np.uint8)])
def test_one_item_instead_of_several_is_a_wrong_call(detector, item):
    with pytest.raises(TypeError, match=r"score\(\[item\]\)"):
        detector.score(item)


@pytest.mark.parametrize(
    "item", [3, np.zeros((9, 9)), np.zeros((9, 9, 2), np.uint8), np.zeros((0, 9, 3), np.uint8)]
)
def test_an_item_of_another_type_is_a_wrong_call(detector, item):
    with pytest.raises(TypeError):
        list(detector.score([item]))


def test_the_threshold_can_be_chosen(tiny):
    grey = Image.new("RGB", (20, 20), (130, 130, 130))
    assert next(Detector(tiny).score([grey])).verdict is Verdict.UNCERTAIN
    assert next(Detector(tiny, threshold=0.5).score([grey])).verdict is Verdict.FAKE
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Detector(tiny, threshold=2)


def test_a_detector_says_what_it_is(detector):
    assert detector.metadata == METADATA
    assert detector.band == METADATA.band
    assert detector.fingerprint.startswith("tiny@")


def test_a_model_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(WeightsError, match="no such model file"):
        Detector(tmp_path / "none.onnx")


def test_threads_may_share_a_detector_and_files_with_odd_metadata(detector):
    images = [Image.new("RGB", (40, 30), (v, v, v)) for v in range(0, 256, 8)]
    files = [png(image) for image in images]
    bad_exif = io.BytesIO()
    images[0].save(bad_exif, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05" + b"\xff" * 20)
    expected = [next(detector.score([f])).score for f in files]

    def score(i):
        next(detector.score([bad_exif.getvalue()]))
        return next(detector.score([files[i]])).score

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(score, range(len(files)))) == expected


def test_the_package_and_a_detector_never_import_torch(tiny, photos):
    code = (
        "import sys, fakescan\n"
        "assert not {'torch', 'pandas', 'onnxruntime', 'typer', 'numpy'} & set(sys.modules)\n"
        "next(fakescan.Detector(sys.argv[1]).score([sys.argv[2]]))\n"
        "assert not {'torch', 'open_clip', 'pandas', 'typer', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tiny, photos / "dark.jpg"], check=True)
