"""Calibration and thresholds, by hand where that is possible."""

import numpy as np
import pytest

from fakescan.calibrate.fit import MIN_SLOPE, fit_band, fit_calibration

ONE = np.ones


def scored(rng, slope, intercept, n=4000):
    """Balanced labels and logits of which sigmoid(slope x + intercept) is the probability."""
    labels = np.repeat([0, 1], n // 2)
    x = rng.normal(np.where(labels == 1, 1.0, -1.0), np.sqrt(2))  # x is the log of the odds
    return (x - intercept) / slope, labels


def test_known_slope_and_intercept_are_found_again():
    logits, labels = scored(np.random.default_rng(0), 2.5, 0.7)
    found = fit_calibration(logits, labels, ONE(len(labels)))
    assert found.slope == pytest.approx(2.5, rel=0.1)
    assert found.intercept == pytest.approx(0.7, abs=0.1)


def test_temperature_leaves_the_intercept_alone():
    logits, labels = scored(np.random.default_rng(0), 0.5, 0.0)
    found = fit_calibration(logits, labels, ONE(len(labels)), "temperature")
    assert found.intercept == 0
    assert found.slope == pytest.approx(0.5, rel=0.1)


def test_imbalance_does_not_move_the_fit():
    logits, labels = scored(np.random.default_rng(1), 1.0, 0.0, 20000)
    kept = np.flatnonzero((labels == 1) | (np.arange(len(labels)) % 5 == 0))
    whole = fit_calibration(logits, labels, ONE(len(labels)))
    part = fit_calibration(logits[kept], labels[kept], ONE(len(kept)))
    assert part.slope == pytest.approx(whole.slope, rel=0.1)
    assert part.intercept == pytest.approx(whole.intercept, abs=0.05)


def test_separable_logits_end_at_a_finite_slope():
    found = fit_calibration(np.array([-3.0, -2, 2, 3]), np.array([0, 0, 1, 1]), ONE(4))
    assert 0 < found.slope < 10
    assert found.score(-2.0) < 0.5 < found.score(2.0)


@pytest.mark.parametrize("logits", [[2.0, 1, -1, -2], [5.0, 5, 5, 5]])
def test_logits_that_do_not_rise_with_the_label_say_nothing(logits):
    found = fit_calibration(np.array(logits), np.array([0, 0, 1, 1]), ONE(4))
    assert found.slope >= MIN_SLOPE
    for logit in logits:
        assert found.score(logit) == pytest.approx(0.5, abs=0.01)


def test_large_logits_are_no_trouble():
    logits, labels = scored(np.random.default_rng(2), 0.001, 0.0)
    found = fit_calibration(logits, labels, ONE(len(labels)))
    assert found.slope == pytest.approx(0.001, rel=0.1)


@pytest.mark.parametrize(
    ("reals", "fakes", "t_fake", "t_real"),
    [
        ([0.1, 0.2, 0.3], [0.7, 0.8, 0.9], 0.7, 0.7),  # any real called fake is more than 2 %
        ([0.1, 0.2, 0.6], [0.5, 0.8, 0.9], 0.8, 0.5),
        ([0.1, 0.2, 0.9], [0.5, 0.6, 0.8], 0.95, 0.5),  # above all: halfway to 1
    ],
)
def test_thresholds_by_hand(reals, fakes, t_fake, t_real):
    scores = np.array(reals + fakes)
    found = fit_band(scores, np.array([0] * 3 + [1] * 3), ONE(6))
    assert (found.t_fake, found.t_real) == (pytest.approx(t_fake), pytest.approx(t_real))


def test_two_percent_of_false_positives_and_five_of_misses_are_allowed():
    scores = np.concatenate([np.arange(100) / 200, 0.3 + np.arange(100) / 200])
    labels = np.repeat([0, 1], 100)
    found = fit_band(scores, labels, ONE(200))
    assert (scores[:100] >= found.t_fake).sum() == 2
    assert (scores[100:] < found.t_real).sum() == 5


def test_a_heavy_source_counts_by_its_weight():
    scores = np.array([0.1, 0.9, 0.5, 0.95])
    labels = np.array([0, 0, 1, 1])
    light = fit_band(scores, labels, np.array([1.0, 0.01, 1, 1]))
    heavy = fit_band(scores, labels, np.array([1.0, 1.0, 1, 1]))
    assert light.t_fake == 0.5
    assert heavy.t_fake == 0.95
