"""The images that a file carries, so that it can be verified wherever it goes."""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path

import torch
from PIL import Image

from fakescan.export.graph import Form
from fakescan.image import Preprocess, normalise, open_picture, to_rgb, views
from fakescan.model.detector import DetectorModel
from fakescan.protobuf import graph_sha256, replace_property
from fakescan.specimens import GRAPH_KEY, KEY, Specimen, to_json
from fakescan.verify import image_scorer

FIXTURES = ("fake-sdxl-statue", "real-coffee", "real-astronaut")
"""Of the package; the last one is made small, so that it must be enlarged or padded."""
SMALL = (5 / 7, 3 / 7)
"""Width and height of the small one, in sides of a square."""


def add_specimens(
    file: Path, model: DetectorModel, preprocess: Preprocess, form: Form | None
) -> None:
    """Put specimens, and the graph's hash, into a file's metadata; its graph stays as it is."""
    content = file.read_bytes()
    score = image_scorer(content, preprocess, takes_image=bool(form and form.has_preprocessing))
    found = []
    for name, image in _images(preprocess):
        stream = io.BytesIO()
        image.save(stream, "PNG", optimize=True)
        specimen = Specimen(name, stream.getvalue(), _torch_logit(model, image, preprocess), 0.0)
        logit = score(specimen.pixels())
        found.append(Specimen(name, specimen.png, specimen.torch_logit, logit))
    content = replace_property(content, GRAPH_KEY, graph_sha256(content))
    file.write_bytes(replace_property(content, KEY, to_json(found)))


def _images(preprocess: Preprocess) -> list[tuple[str, Image.Image]]:
    folder = resources.files("fakescan.export") / "fixtures"
    images = [
        to_rgb(open_picture((folder / f"{name}.jpg").read_bytes()).image) for name in FIXTURES
    ]
    if preprocess.geometry == "resize":  # so large that it shrinks by half and more
        scale = 2 * preprocess.image_px
        images[0] = images[0].resize((scale * 5 // 4, scale), Image.Resampling.BICUBIC)
    width, height = (max(1, round(side * preprocess.image_px)) for side in SMALL)
    images[-1] = images[-1].resize((width, height), Image.Resampling.BICUBIC)
    return list(zip(FIXTURES, images, strict=True))


@torch.no_grad()
def _torch_logit(model: DetectorModel, image: Image.Image, preprocess: Preprocess) -> float:
    device = next(model.parameters()).device
    pixels = torch.from_numpy(normalise(views(image, preprocess), preprocess)).to(device)
    return float(model(pixels).logit.mean())
