"""A detector of real size, ViT-B/16 with random weights."""

import pytest
import torch
from PIL import Image

from fakescan.export import Check, export_detector
from fakescan.export.graph import build_graph
from fakescan.model.builtin import load_builtin
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.tower import Tower, TowerConfig
from towers import tiny_metadata

pytestmark = pytest.mark.slow

MAX_BYTES = 95e6
"""The wheel carries the file."""


def real_size(**settings):
    torch.manual_seed(0)
    model = DetectorModel(Tower(TowerConfig()), ModelConfig(**settings)).eval()
    with torch.no_grad():
        for experts in model.experts.values():
            experts["mlp"].lora_B.normal_(std=0.02)
            experts["mlp"].router.normal_(std=0.1)
    return model


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        Image.effect_noise((300, 260), 40 * (i + 1)).convert("RGB").save(folder / f"{i}.png")
    return folder


def test_eight_blocks_in_fp32_equal_torch_and_route_alike(tmp_path, photos):
    model = real_size(head="levels", levels=(4, 6, 8))
    out = tmp_path / "d.onnx"
    report = export_detector(model, tiny_metadata(model), out, check=Check(folder=photos))
    assert report.parity.images == 3
    assert report.parity.misrouted == 0
    assert report.parity.agreement > 0.999
    assert load_builtin(out).tower.sha256() == model.tower.sha256()


def test_eight_blocks_in_int8_are_about_sixty_megabytes(tmp_path, photos):
    model = real_size(head="levels", levels=(4, 6, 8))
    out = tmp_path / "d.onnx"
    report = export_detector(model, tiny_metadata(model, "int8"), out, check=Check(folder=photos))
    assert 58e6 < report.bytes < 64e6
    assert {p.name for p in tmp_path.iterdir()} == {"d.onnx", "photos"}


def test_the_whole_tower_in_int8_fits_the_wheel():
    model = real_size(head="final")
    assert build_graph(model, tiny_metadata(model, "int8")).ByteSize() < MAX_BYTES
