"""Samples -> logits under every condition, in child processes."""

import numpy as np
import pytest
from PIL import Image

from fakescan.data.properties import properties
from fakescan.data.samples import read_samples
from fakescan.evaluate.benchmark import evaluate_by_source
from fakescan.evaluate.drawn import Drawn
from fakescan.evaluate.pairing import Pairing, compare
from fakescan.evaluate.properties_auc import properties_auc
from fakescan.evaluate.score import ScoreSettings, score_samples
from fakescan.image import open_picture, view
from fakescan.perturb import parse
from fakescan.session import OnnxSession


@pytest.fixture
def labelled(tmp_path):
    """Textured images whose fakes are PNG and reals JPEG, and two that cannot be read."""
    rng = np.random.default_rng(0)
    for i in range(6):
        for name, suffix in (("0_real", "jpg"), ("1_fake", "png")):
            path = tmp_path / "gen" / name / f"{i}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    (tmp_path / "gen/1_fake/cut.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "gen/0_real/empty.jpg").write_bytes(b"")
    return tmp_path


def test_every_condition_has_the_same_images_and_its_own_pixels(labelled, tiny):
    session = OnnxSession(tiny, device="cpu")
    preprocess = session.metadata.preprocess
    names = ("equalise:24", "blur:2")
    seen = []
    scored = score_samples(
        read_samples(labelled),
        session,
        preprocess,
        ScoreSettings(perturbations=names, batch_size=4, workers=2),
        progress=lambda: seen.append(1),
    )
    assert len(seen) == 14
    assert set(scored.tables) == {"", *names}
    for sample, vector in zip(scored.plain.samples, scored.properties, strict=True):
        assert np.array_equal(vector, properties(sample.path))
    for name, table in scored.tables.items():
        assert table.samples == scored.plain.samples
        assert [key for key, _ in table.unreadable] == [
            "gen/0_real/empty.jpg",
            "gen/1_fake/cut.png",
        ]
        for sample, logit in zip(table.samples, table.logits, strict=True):
            image = open_picture(sample.path).image
            crop = view(parse(name)(image) if name else image, preprocess)
            assert logit == pytest.approx(float(session.logits(crop[None])[0]), abs=1e-5)


def test_a_logit_that_is_no_number_is_a_row_with_its_reason(labelled, tiny):
    class Broken:
        def logits(self, crops):
            return np.full(len(crops), np.nan, np.float32)

    preprocess = OnnxSession(tiny, device="cpu").metadata.preprocess
    scored = score_samples(read_samples(labelled), Broken(), preprocess, ScoreSettings(workers=1))
    assert scored.plain.samples == ()
    assert ("gen/0_real/0.jpg", "the detector gave nan for it") in scored.plain.unreadable


def test_a_leak_of_format_shows_in_the_auc_of_properties(labelled, tiny):
    session = OnnxSession(tiny, device="cpu")
    samples = read_samples(labelled)
    scored = score_samples(samples, session, session.metadata.preprocess, ScoreSettings(workers=1))
    drawn = Drawn.draw(scored.plain.samples, 20)
    found = properties_auc(scored.plain, scored.properties, compare(samples), drawn)
    assert list(found.rows) == ["gen"]
    assert found.mean.value == 1
    shuffled = np.tile(scored.properties[:1], (12, 1))
    assert properties_auc(scored.plain, shuffled, compare(samples), drawn).mean.value == 0.5
    assert evaluate_by_source(scored.plain, Pairing(), resamples=20).rows[0].fakes == 6
