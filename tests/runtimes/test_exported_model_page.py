"""docs/reference/exported-model.md is enough: its program, alone, scores as fakescan does."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fakescan import Detector
from fakescan.export import Form, export_detector
from fakescan.image import Preprocess
from fakescan.metadata import DetectorMetadata
from fakescan.records import Band, Calibration
from towers import tiny_metadata, tiny_model

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "exported-model.md"
ONLY = """
import sys, sysconfig
ALLOWED = {"numpy", "onnxruntime", "PIL"}

class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in FORBIDDEN:
            raise ModuleNotFoundError(f"{top} is not what the page names", name=top)

from importlib.metadata import packages_distributions
FORBIDDEN = {*packages_distributions(), "fakescan"} - ALLOWED - set(sys.stdlib_module_names)
sys.meta_path.insert(0, Only())
"""
"""Put in front of the program: whatever is installed besides the three cannot be imported."""


@pytest.fixture
def photos(tmp_path):
    """Images of every kind that the page says something of."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def noise(*shape):
        return rng.integers(0, 256, shape, np.uint8)

    Image.fromarray(noise(70, 90, 3)).save(folder / "large.png")
    Image.fromarray(noise(16, 16, 3)).save(folder / "exact.png")
    Image.fromarray(noise(9, 13, 3)).save(folder / "small.png")
    Image.fromarray(noise(3, 200, 3)).save(folder / "strip.png")
    Image.fromarray(noise(40, 30, 4)).save(folder / "transparent.png")
    Image.fromarray(noise(40, 30)).convert("P").save(folder / "palette.png")
    Image.fromarray(rng.integers(0, 65536, (40, 30), np.uint16)).save(folder / "deep.png")
    Image.fromarray(noise(40, 30, 4)).convert("CMYK").save(folder / "cmyk.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(40, 60, 3)).save(folder / "turned.jpg", exif=turned)
    return sorted(map(str, folder.iterdir()))


def program():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return ONLY + code


@pytest.mark.slow
@pytest.mark.parametrize("geometry", ["crop", "resize", "pad"])
@pytest.mark.parametrize("has_preprocessing", [False, True])
def test_the_program_of_the_page_scores_as_fakescan(tmp_path, photos, geometry, has_preprocessing):
    model = tiny_model(gate="dense")
    metadata = tiny_metadata(
        model,
        preprocess=Preprocess(image_px=16, geometry=geometry, crops=3),
        calibration=Calibration(slope=0.8, intercept=-0.1),
        band=Band(t_fake=0.6, t_real=0.5),
    )
    path = tmp_path / "detector.onnx"
    form = Form(has_preprocessing=has_preprocessing)
    export_detector(model, metadata, path, form=form)
    run = subprocess.run(
        [sys.executable, "-I", "-c", program(), str(path), *photos],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    expected = list(Detector(path, device="cpu").score(photos))
    within = 5e-3 if has_preprocessing and geometry != "pad" else 1e-4  # a grey level
    assert [f["score"] for f in found] == pytest.approx([e.score for e in expected], abs=within)
    assert [f["path"] for f in found] == photos
    if not has_preprocessing:
        assert [f["verdict"] for f in found] == [e.verdict.value for e in expected]


def test_the_guard_lets_nothing_else_in():
    for name in ("fakescan", "onnx", "torch", "scipy"):
        run = subprocess.run(
            [sys.executable, "-I", "-c", f"{ONLY}\nimport {name}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "is not what the page names" in run.stderr


def test_the_page_names_every_input_output_and_metadata_field(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    model = tiny_model()
    path = tmp_path / "d.onnx"
    export_detector(
        model, tiny_metadata(model), path, form=Form(has_preprocessing=True, has_explanation=True)
    )
    proto = onnx.load(path)
    names = [v.name for v in (*proto.graph.input, *proto.graph.output)]
    names += [p.key for p in proto.metadata_props]
    names += [f.name for f in dataclasses.fields(DetectorMetadata)]
    assert [name for name in names if f"`{name}`" not in text] == []
