"""A detector that takes images, the same images as PNG, and packages of Node.js."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from fakescan.export import Form, export_detector
from fakescan.image import Preprocess
from fakescan.records import Band, Calibration
from needs import need
from towers import tiny_metadata, tiny_model, tiny_tower

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "how-to" / "other-runtimes"
SIDES = [(320, 240), (75, 131), (21, 200), (32, 32), (90, 64), (300, 70)]


@pytest.fixture(scope="session")
def detector(tmp_path_factory):
    """Three squares of 32 pixels, enlarged or shrunk, in fp32."""
    model = tiny_model(tower=tiny_tower(image_px=32))
    preprocess = Preprocess(image_px=32, geometry="resize", crops=3)
    metadata = tiny_metadata(
        model,
        preprocess=preprocess,
        calibration=Calibration(slope=0.7, intercept=0.2),
        band=Band(t_fake=0.7, t_real=0.4),
    )
    path = tmp_path_factory.mktemp("runtimes") / "detector.onnx"
    export_detector(model, metadata, path, form=Form(has_preprocessing=True))
    return path


@pytest.fixture(scope="session")
def pngs(tmp_path_factory):
    """The sample images, decoded once, in sizes that need every kind of scaling."""
    folder = tmp_path_factory.mktemp("pngs")
    samples = sorted((ROOT / "samples").rglob("*.jpg"))[::2]
    for sample, size in zip(samples, SIDES, strict=True):
        Image.open(sample).convert("RGB").resize(size).save(folder / f"{sample.stem}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def node_modules():
    """Packages of package.json, installed once for each version of it and kept."""
    need(shutil.which("node") and shutil.which("npm"), "node with npm")
    package = (EXAMPLES / "package.json").read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fakescan-tests"
    folder = home / f"node-{hashlib.sha256(package).hexdigest()[:12]}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_bytes(package)
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(["npm", "install", *flags], cwd=folder, check=True, capture_output=True)
        (folder / "done").touch()
    return folder / "node_modules"


@pytest.fixture(scope="session")
def site(tmp_path_factory, detector, node_modules):
    """The examples with their packages and a detector beside them."""
    folder = tmp_path_factory.mktemp("site") / "site"
    shutil.copytree(EXAMPLES, folder)
    (folder / "node_modules").symlink_to(node_modules)
    shutil.copy(detector, folder / "detector.onnx")
    return folder
