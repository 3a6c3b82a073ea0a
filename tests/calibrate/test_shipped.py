"""The detector that is shipped, calibrated on tiles of the sample images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakescan import weights
from fakescan.calibrate.run import Request, calibrate
from fakescan.data.samples import read_samples
from fakescan.session import OnnxSession

SAMPLES = Path(__file__).parents[2] / "samples"
PX = 224


@pytest.mark.slow
def test_the_shipped_detector_keeps_its_logits_and_takes_the_new_band(tmp_path):
    for kind, leaf in (("real", "0_real"), ("fake", "1_fake")):
        for path in sorted((SAMPLES / kind).iterdir()):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            room = (image.width - PX, image.height - PX)
            for i in range(9):
                left, top = (room[0] * (i % 3) // 2, room[1] * (i // 3) // 2)
                tile = tmp_path / "tiles" / path.stem / leaf / f"{i}.png"
                tile.parent.mkdir(parents=True, exist_ok=True)
                image.crop((left, top, left + PX, top + PX)).save(tile)
    model = weights.resolve(None)
    before = model.read_bytes()
    out = tmp_path / "new.onnx"
    result = calibrate(read_samples(tmp_path / "tiles"), model, out, Request(), device="cpu")
    assert model.read_bytes() == before
    assert sum(result.images["real"].values()) == sum(result.images["fake"].values()) == 54
    assert result.folds == 5
    assert result.fitted.called_fake.value <= 0.02
    old, new = OnnxSession(model, device="cpu"), OnnxSession(out, device="cpu")
    crops = np.random.default_rng(0).integers(0, 256, (2, PX, PX, 3), np.uint8)
    assert np.array_equal(old.logits(crops), new.logits(crops))
    assert new.metadata.band == result.metadata.band != old.metadata.band
    assert new.metadata.training["images"] == old.metadata.training["images"]
