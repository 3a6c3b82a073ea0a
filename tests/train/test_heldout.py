"""A run that learns from every source is calibrated by runs that held some out."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fakescan.calibrate.fit import fit_calibration
from fakescan.errors import ConfigError
from fakescan.evaluate.metrics import roc_auc
from fakescan.image import Preprocess, normalise, open_picture, views
from fakescan.model.backbone import load_backbone
from fakescan.model.checkpoint import load_checkpoint, restore
from fakescan.model.detector import ModelConfig
from fakescan.train.run import train
from fakescan.train.sampling import Unit, turn
from fakescan.train.views import CENTRE, DEGRADED

HALVES = (
    ("source0", "source1", "source4", "source5"),
    ("source2", "source3", "source6", "source7"),
)


@pytest.fixture(scope="module")
def halves(shared_config, tmp_path_factory):
    """Two runs, each of which held out one half of the sources."""
    folders = []
    for number, sources in enumerate(HALVES):
        out = tmp_path_factory.mktemp("half") / f"run{number}"
        train(replace(shared_config, validation_sources=sources, epochs=1), out)
        folders.append(out)
    return tuple(folders)


def rows(folder):
    with (folder / "held-out.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def whole(shared_config, halves, **changes):
    return replace(shared_config, validation=0.0, epochs=1, calibration_runs=halves, **changes)


def test_a_run_writes_the_logits_of_what_it_held_out(halves):
    for folder, sources in zip(halves, HALVES, strict=True):
        found = rows(folder)
        assert {row["source"] for row in found} == set(sources)
        assert len(found) == 20
        judged = json.loads((folder / "calibration.json").read_text())
        labels = np.array([int(row["label"]) for row in found])
        assert roc_auc(labels, np.array([float(r["logit"]) for r in found])) > 0.8
        assert judged["validation"]["n_real"] == (labels == 0).sum()


def test_pooled_logits_calibrate_a_run_that_saw_every_source(shared_config, halves, tmp_path):
    train(whole(shared_config, halves), tmp_path / "all")
    judged = json.loads((tmp_path / "all" / "calibration.json").read_text())
    facts = json.loads((tmp_path / "all" / "training.json").read_text())
    assert sum(facts["images"]["train"]["real"].values()) == 20
    assert (judged["validation"]["n_real"], judged["validation"]["n_fake"]) == (20, 20)
    assert judged["validation"]["note"] == "2 other runs held out"
    pooled = [row for folder in halves for row in rows(folder)]
    logits = np.array([float(row["logit"]) for row in pooled])
    labels = np.array([int(row["label"]) for row in pooled])
    expected = fit_calibration(logits, labels, np.full(40, 1 / 40))
    assert judged["calibration"]["slope"] == pytest.approx(expected.slope, rel=1e-6)
    assert judged["calibration"]["intercept"] == pytest.approx(expected.intercept, rel=1e-6)
    assert judged["validation"]["auc"] == pytest.approx(roc_auc(labels, logits))


def test_a_source_that_two_runs_held_out_is_refused(shared_config, halves, tmp_path):
    with pytest.raises(ConfigError, match="and so did"):
        train(whole(shared_config, (halves[0], halves[0])), tmp_path / "run")


def test_a_run_of_another_model_is_refused(shared_config, halves, tmp_path):
    other = ModelConfig(head="levels", levels=(1, 2))
    with pytest.raises(ConfigError, match="its model is another"):
        train(whole(shared_config, halves, model=other), tmp_path / "run")


def test_a_run_that_held_nothing_out_is_named(shared_config, halves, tmp_path):
    train(replace(shared_config, validation=0.0, epochs=0), tmp_path / "none")
    with pytest.raises(ConfigError, match=r"none: no held-out\.csv"):
        train(whole(shared_config, (tmp_path / "none",)), tmp_path / "run")


def test_calibration_runs_and_held_out_sources_exclude_one_another(shared_config, halves):
    with pytest.raises(ConfigError, match="calibration_runs need validation 0"):
        replace(shared_config, calibration_runs=halves)


def test_several_squares_of_a_held_out_image_are_averaged(shared_config, data, tmp_path):
    """The tiny backbone sees 16 px of 40 x 36, so that corners are looked at."""
    config = replace(shared_config, epochs=0, workers=0)
    one = replace(config, preprocess=Preprocess(image_px=16))
    three = replace(config, preprocess=Preprocess(image_px=16, crops=3))
    for settings, name in ((one, "one"), (three, "three")):
        train(settings, tmp_path / name)
    singles, means = (
        {row["path"]: float(row["logit"]) for row in rows(tmp_path / name)}
        for name in ("one", "three")
    )
    assert singles.keys() == means.keys()
    checkpoint = load_checkpoint(tmp_path / "three" / "checkpoint.safetensors")
    model = restore(checkpoint, load_backbone(config.backbone)).eval()
    for key, mean in means.items():
        squares = views(open_picture(data / key).image, checkpoint.preprocess)
        with torch.no_grad():
            logits = model(torch.from_numpy(normalise(squares, checkpoint.preprocess))).logit
        assert len(logits) == 3
        assert mean == pytest.approx(float(logits.mean()), abs=0.02)
    assert any(abs(singles[key] - means[key]) > 0.05 for key in means)


def test_degraded_views_take_their_turn_and_are_judged_too(shared_config, tmp_path):
    config = replace(shared_config, draws=2, centre_view=True, degraded_views=2)
    assert config.views == (CENTRE, 0, 1, DEGRADED, DEGRADED + 1)
    assert config.validation_views == (CENTRE, 0, DEGRADED)
    assert shared_config.validation_views == (CENTRE, 0)
    figures, heads = [], []
    for degraded_views in (0, 1):
        folder = tmp_path / str(degraded_views)
        outcome = train(replace(shared_config, epochs=0, degraded_views=degraded_views), folder)
        assert (
            json.loads((folder / "training.json").read_text())["degraded_views"] == degraded_views
        )
        heads.append(load_checkpoint(folder / "checkpoint.safetensors").state["head.weight"])
        figures.append(outcome.validation.loss)
    assert figures[0] != figures[1]
    assert not torch.equal(*heads)


def test_every_epoch_mixes_the_views_and_each_unit_shows_all_of_them(shared_config):
    config = replace(shared_config, draws=1, centre_view=True, degraded_views=1)
    seen = {
        unit: [turn(config.views, epoch, Unit((unit, 9))) for epoch in range(3)]
        for unit in range(3)
    }
    assert all(set(views) == set(config.views) for views in seen.values())
    assert {views[0] for views in seen.values()} == set(config.views)


def test_the_centre_view_takes_its_turn_with_the_random_ones(shared_config, tmp_path):
    config = replace(shared_config, draws=2, centre_view=True)
    assert config.views == (CENTRE, 0, 1)
    assert replace(config, centre_view=False).views == (0, 1)
    plain = tmp_path / "plain"
    train(replace(shared_config, epochs=0), plain)
    train(replace(shared_config, epochs=0, centre_view=True), tmp_path / "centre")
    heads = [
        load_checkpoint(folder / "checkpoint.safetensors").state["head.weight"]
        for folder in (plain, tmp_path / "centre")
    ]
    assert not torch.equal(*heads)
