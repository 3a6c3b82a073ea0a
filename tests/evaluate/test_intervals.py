"""Bootstrap intervals."""

import numpy as np
import pytest

from fakescan.evaluate.intervals import estimate, estimate_difference, resample
from fakescan.evaluate.metrics import (
    roc_auc,
    weighted_ap_one_to_one,
    weighted_auc,
)


def simulated(reals, fakes, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [reals, fakes])
    return labels, rng.normal(size=reals + fakes) + shift * labels


def test_every_resample_keeps_the_size_of_every_stratum():
    strata = np.array([0, 0, 0, 1, 1, 2])
    weights = resample(strata, resamples=50)
    assert weights.shape == (50, 6)
    for stratum, size in ((0, 3), (1, 2), (2, 1)):
        assert (weights[:, strata == stratum].sum(axis=1) == size).all()


def test_the_seed_decides():
    labels, scores = simulated(30, 20)
    first = estimate(labels, scores, weighted_auc)
    assert estimate(labels, scores, weighted_auc) == first
    assert estimate(labels, scores, weighted_auc, seed=1) != first


def test_the_interval_holds_the_truth_as_often_as_it_says():
    truth = 0.7602  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt(2))
    held = 0
    for seed in range(100):
        found = estimate(*simulated(60, 60, seed=seed), weighted_auc)
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert held >= 88


def test_the_interval_is_as_wide_as_theory_says():
    labels, scores = simulated(400, 400)
    auc = roc_auc(labels, scores)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)  # Hanley and McNeil (1982)
    variance = (auc * (1 - auc) + 399 * (q1 - auc**2) + 399 * (q2 - auc**2)) / 400**2
    found = estimate(labels, scores, weighted_auc)
    assert found.high - found.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.15)


def test_perfect_separation_has_no_width():
    found = estimate(np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 2.0, 3.0]), weighted_auc)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_a_paired_difference_is_narrower_than_its_parts():
    labels, scores = simulated(100, 100)
    worse = scores - 0.1 * labels
    difference = estimate_difference(labels, scores, worse, weighted_auc)
    assert difference.value == pytest.approx(roc_auc(labels, scores) - roc_auc(labels, worse))
    assert difference.low > 0
    whole = estimate(labels, scores, weighted_auc)
    assert difference.high - difference.low < (whole.high - whole.low) / 3


def test_a_score_does_not_differ_from_itself():
    labels, scores = simulated(20, 20)
    found = estimate_difference(labels, scores, 2 * scores, weighted_ap_one_to_one)
    assert (found.value, found.low, found.high) == (0, 0, 0)
