"""Figures by source, with a real scorer on real files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakescan.config import load
from fakescan.data.samples import Sample, read_samples
from fakescan.errors import ConfigError, DatasetError
from fakescan.evaluate.benchmark import ScoreTable, evaluate_by_source
from fakescan.evaluate.metrics import weighted_ece
from fakescan.evaluate.pairing import Pairing
from fakescan.evaluate.score import ScoreSettings, score_samples
from fakescan.image import Preprocess
from fakescan.records import Band, Calibration

ROOT = Path(__file__).resolve().parents[2]


class Brightness:
    """Bright is fake: the mean of a crop, from -1 to 1."""

    def __init__(self):
        self.batches = []

    def logits(self, crops):
        self.batches.append(len(crops))
        return (crops.mean(axis=(1, 2, 3)) / 127.5 - 1).astype(np.float32)


@pytest.fixture
def labelled(tmp_path):
    for name, grey in {
        "cameras/0_real/a.png": 20,
        "cameras/0_real/b.png": 60,
        "cameras/0_real/c.png": 140,
        "thumbs/0_real/d.png": 200,
        "sd/1_fake/e.png": 100,
        "sd/1_fake/f.png": 250,
        "small-gan/1_fake/g.png": 180,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (grey, grey, grey)).save(tmp_path / name)
    (tmp_path / "sd/1_fake/broken.png").write_bytes(b"")
    return tmp_path


def scored(samples):
    settings = ScoreSettings(workers=1)
    return score_samples(samples, Brightness(), Preprocess(image_px=8), settings).plain


PAIRING = Pairing(pairs={"small-*": ["thumb*"]}, others=("cameras",))


def test_unreadable_images_are_listed_and_scores_stay_with_their_images(labelled):
    scorer = Brightness()
    samples = read_samples(labelled)
    settings = ScoreSettings(batch_size=3, workers=2)
    table = score_samples(samples, scorer, Preprocess(image_px=8), settings).plain
    assert scorer.batches == [3, 2, 2]  # the broken one was in the second batch
    assert [key for key, _ in table.unreadable] == ["sd/1_fake/broken.png"]
    grey = {s.key: round((v + 1) * 127.5) for s, v in zip(table.samples, table.logits, strict=True)}
    assert grey["cameras/0_real/c.png"] == 140
    assert grey["small-gan/1_fake/g.png"] == 180
    assert len(grey) == 7


def test_each_source_of_fakes_meets_the_reals_it_is_paired_with(labelled):
    table = scored(read_samples(labelled))
    benchmark = evaluate_by_source(table, PAIRING)
    sd, gan = benchmark.rows
    assert (sd.source, sd.fakes, sd.reals) == ("sd", 2, 3)
    assert sd.figures.auc.value == pytest.approx(5 / 6)  # 250 above all, 100 above two of three
    assert (gan.source, gan.fakes, gan.reals) == ("small-gan", 1, 1)
    assert gan.figures.auc.value == 0
    assert benchmark.mean.auc.value == pytest.approx(5 / 12)
    assert benchmark.unreadable == table.unreadable


def test_accuracy_is_that_of_verdicts_at_the_band(labelled):
    table = scored(read_samples(labelled))
    calibration = Calibration(slope=10.0)
    band = Band(t_fake=calibration.score(0.0), t_real=0.0)  # fake from grey 128 on
    benchmark = evaluate_by_source(table, PAIRING, calibration=calibration, band=band)
    figures = benchmark.rows[0].figures
    assert figures.fake_acc.value == 1 / 2
    assert figures.real_acc.value == pytest.approx(2 / 3)
    assert figures.acc.value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert [(r.source, r.reals, r.called_fake.value) for r in benchmark.reals] == [
        ("cameras", 3, pytest.approx(1 / 3)),
        ("thumbs", 1, 1.0),
    ]


def test_the_mean_has_a_narrower_interval_than_its_rows():
    rng = np.random.default_rng(0)
    samples, logits = [], []
    for source, label in [("r", 0), *((f"f{i}", 1) for i in range(6))]:
        for i in range(40):
            key = f"{source}/{i}"
            samples.append(Sample(path=Path(key), key=key, label=label, source=source))
            logits.append(rng.normal() + label)
    benchmark = evaluate_by_source(ScoreTable(tuple(samples), np.array(logits)), Pairing())
    widths = [row.figures.auc.high - row.figures.auc.low for row in benchmark.rows]
    mean = benchmark.mean.auc
    assert mean.value == pytest.approx(np.mean([r.figures.auc.value for r in benchmark.rows]))
    assert mean.low < mean.value < mean.high
    assert mean.high - mean.low < min(widths)


def test_fakes_without_reals_to_compare_with_are_an_error(labelled):
    table = scored(read_samples(labelled))
    with pytest.raises(DatasetError, match="sd: no real image of nothing"):
        evaluate_by_source(table, Pairing(others=("nothing",)))


def test_nothing_to_compare_is_an_error():
    with pytest.raises(DatasetError, match="no fake image"):
        evaluate_by_source(scored([]), Pairing())


def test_the_shipped_pairing_loads():
    pairing = load(Pairing, ROOT / "scripts/experiments/pairing.toml")
    assert pairing.reals_of("visor-cogview2") == ["derived-real-128png"]
    assert pairing.reals_of("anything") == ("real-*", "nst-titu-photos")


def test_the_first_glob_that_matches_counts():
    pairing = Pairing(pairs={"a-*": ["x"], "*": ["y"]})
    assert (pairing.reals_of("a-1"), pairing.reals_of("b")) == (["x"], ["y"])


@pytest.mark.parametrize("wrong", ['"a" = "b"', '"a" = [1]'])
def test_a_pairing_of_another_form_is_refused(tmp_path, wrong):
    (tmp_path / "pairing.toml").write_text(f"[pairs]\n{wrong}\n")
    with pytest.raises(ConfigError, match="'a' needs a list of globs"):
        load(Pairing, tmp_path / "pairing.toml")


def test_the_calibration_error_over_all_images_is_that_of_the_pooled_ones():
    rng = np.random.default_rng(0)
    samples, logits = [], []
    for source, label, count in (("r", 0, 60), ("f1", 1, 10), ("f2", 1, 20)):
        for i in range(count):
            key = f"{source}/{i}"
            samples.append(Sample(path=Path(key), key=key, label=label, source=source))
            logits.append(rng.normal() + label)
    found = evaluate_by_source(ScoreTable(tuple(samples), np.array(logits)), Pairing())
    labels = np.array([s.label for s in samples])
    weights = np.where(labels == 1, 1.0, 30 / 60)[None]
    scores = 1 / (1 + np.exp(-np.array(logits)))
    assert found.ece.value == pytest.approx(weighted_ece(labels, scores, weights)[0])
    assert found.ece.low < found.ece.high
    assert found.ece.value < found.mean.ece.value
