"""Groups are dealt whole, and every image is judged by a fit that had not seen its group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.calibrate.fit import Targets
from fakescan.calibrate.folds import Judged, cross_fit, deal, figures, fit, judge
from fakescan.evaluate.metrics import ece
from fakescan.records import Band, Calibration, Verdict

TARGETS = Targets()


@st.composite
def grouped(draw):
    """Labels and groups, at least two groups of each class."""
    groups = draw(st.integers(2, 9))
    kinds = draw(st.lists(st.sampled_from([(0,), (1,), (0, 1)]), min_size=groups, max_size=groups))
    kinds += [(0,), (0,), (1,), (1,)]
    rows = [
        (label, f"g{number}")
        for number, labels in enumerate(kinds)
        for label in labels
        for _ in range(draw(st.integers(1, 12)))
    ]
    return np.array([label for label, _ in rows]), [name for _, name in rows]


@settings(max_examples=50)
@given(grouped())
def test_no_group_is_parted_and_every_fold_leaves_both_classes_to_fit_on(data):
    labels, groups = data
    folds = deal(labels, groups)
    for name in set(groups):
        assert len({f for f, g in zip(folds, groups, strict=True) if g == name}) == 1
    for fold in set(folds.tolist()):
        assert set(labels[folds != fold]) == {0, 1}


def test_many_small_groups_are_spread_evenly():
    labels = np.repeat([0, 1], 50)
    folds = deal(labels, [str(i) for i in range(100)])
    for label in (0, 1):
        assert np.bincount(folds[labels == label]).tolist() == [10] * 5


def test_one_group_of_a_class_cannot_be_judged():
    with pytest.raises(ValueError, match="two groups of each class"):
        deal(np.array([0, 0, 1, 1]), ["a", "b", "c", "c"])


def test_a_fold_is_judged_by_a_fit_on_the_others():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    logits = rng.normal(2.0 * labels, 1)
    folds = np.arange(200) % 4
    crossed = cross_fit(logits, labels, folds, "platt", TARGETS)
    for fold in range(4):
        own, others = folds == fold, folds != fold
        expected = judge(logits[own], *fit(logits[others], labels[others], "platt", TARGETS))
        assert crossed.scores[own].tolist() == expected.scores.tolist()
        verdicts = [v for v, is_own in zip(crossed.verdicts, own, strict=True) if is_own]
        assert tuple(verdicts) == expected.verdicts


def test_where_the_label_says_nothing_the_fitted_figures_flatter_and_the_crossed_do_not():
    """A source of bright reals: thresholds fitted with it keep to 2 %, those without do not."""
    rng = np.random.default_rng(0)
    labels = np.array([0] * 200 + [1] * 200)
    logits = rng.normal(2.0 * labels, 1)
    groups = np.array([f"real{i % 5}" for i in range(200)] + [f"fake{i % 5}" for i in range(200)])
    logits[groups == "real4"] += 4
    folds = deal(labels, groups)
    calibration, band = fit(logits, labels, "platt", TARGETS)
    flattered = figures(labels, judge(logits, calibration, band))
    crossed = figures(labels, cross_fit(logits, labels, folds, "platt", TARGETS))
    assert flattered.called_fake.value <= 0.02
    assert crossed.called_fake.value > 0.1


def test_figures_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1])
    names = ("real", "real", "uncertain", "fake", "fake", "real")
    verdicts = tuple(Verdict(name) for name in names)
    found = figures(labels, Judged(np.array([0.1, 0.1, 0.5, 0.9, 0.9, 0.1]), verdicts))
    assert found.called_fake.value == 0.25
    assert found.uncertain_reals.value == 0.25
    assert (found.found.value, found.missed.value, found.uncertain_fakes.value) == (0.5, 0.5, 0)
    assert found.called_fake.low <= 0.25 <= found.called_fake.high


def test_the_error_is_that_of_as_many_reals_as_fakes():
    rng = np.random.default_rng(1)
    labels = np.array([0] * 50 + [1] * 50)
    scores = rng.random(100)
    judged = Judged(scores, (Verdict.REAL,) * 100)
    assert figures(labels, judged).ece.value == pytest.approx(ece(labels, scores))
    thrice = np.concatenate([np.arange(50), np.arange(50), np.arange(100)])  # reals three times
    more = Judged(scores[thrice], (Verdict.REAL,) * 200)
    assert figures(labels[thrice], more).ece.value == pytest.approx(ece(labels, scores))


def test_a_band_is_applied_to_calibrated_scores():
    judged = judge(np.array([-1.0, 0.0, 1.0]), Calibration(slope=2.0), Band(t_fake=0.8, t_real=0.4))
    assert judged.verdicts == (Verdict.REAL, Verdict.UNCERTAIN, Verdict.FAKE)
    assert judged.scores[1] == 0.5
