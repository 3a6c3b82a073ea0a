"""The same figures as scikit-learn, ties and weights included."""

import numpy as np
import pytest
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from fakescan.evaluate.metrics import (
    balanced_accuracy_threshold,
    even_classes,
    ranked,
    weighted_ece,
)

SEEDS = range(8)


def drawn(seed, images=60):
    """Labels, scores with many ties, and whole weights of which some are 0."""
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, 2, images - 2), [0, 1])
    scores = np.round(rng.normal(size=images) + 0.7 * labels, 1)
    weights = rng.integers(0, 4, (3, images)).astype(np.float64)
    weights[:, -2:] = 1
    return labels, scores, weights


@pytest.mark.parametrize("seed", SEEDS)
def test_auc_and_average_precision(seed):
    labels, scores, weights = drawn(seed)
    steps = ranked(labels, scores, weights)
    for i, weight in enumerate(weights):
        expected = sklearn.roc_auc_score(labels, scores, sample_weight=weight)
        assert steps.auc()[i] == pytest.approx(expected)
        expected = sklearn.average_precision_score(labels, scores, sample_weight=weight)
        assert steps.ap()[i] == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_average_precision_at_one_to_one(seed):
    labels, scores, weights = drawn(seed)
    found = ranked(labels, scores, weights).one_to_one().ap()
    for weight, value in zip(even_classes(labels, weights), found, strict=True):
        assert weight[labels == 0].sum() == pytest.approx(weight[labels == 1].sum())
        expected = sklearn.average_precision_score(labels, scores, sample_weight=weight)
        assert value == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("max_fpr", [0.01, 0.05, 0.3])
def test_the_share_found_at_a_false_positive_rate(seed, max_fpr):
    labels, scores, weights = drawn(seed)
    found = ranked(labels, scores, weights).tpr_at_fpr(max_fpr)
    for i, weight in enumerate(weights):
        fpr, tpr, _ = sklearn.roc_curve(
            labels, scores, sample_weight=weight, drop_intermediate=False
        )
        assert found[i] == pytest.approx(tpr[fpr <= max_fpr + 1e-9].max())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_oracle_is_the_best_balanced_accuracy_of_any_threshold(seed):
    labels, scores, weights = drawn(seed)
    weights[0] = 1
    best = max(
        sklearn.balanced_accuracy_score(labels, scores >= t) for t in [*np.unique(scores), np.inf]
    )
    assert ranked(labels, scores, weights).best_balance()[0] == pytest.approx(best)
    at = balanced_accuracy_threshold(labels, scores)
    assert sklearn.balanced_accuracy_score(labels, scores >= at) == pytest.approx(best)


def test_the_calibration_error_of_weighted_images_is_that_of_repeated_ones():
    labels, scores, weights = drawn(3)
    probabilities = 1 / (1 + np.exp(-scores))
    times = weights.astype(int)
    for i, value in enumerate(weighted_ece(labels, probabilities, weights)):
        many = np.repeat(labels, times[i]), np.repeat(probabilities, times[i])
        assert value == pytest.approx(weighted_ece(*many, np.ones((1, len(many[0]))))[0])
    share, mean = calibration_curve(labels, probabilities, n_bins=15)
    counts = np.bincount((probabilities * 15).astype(int), minlength=15)
    expected = np.abs(share - mean) @ counts[counts > 0] / len(labels)
    assert weighted_ece(labels, probabilities, np.ones((1, 60)))[0] == pytest.approx(expected)


def test_a_weighting_without_one_class_has_no_figure():
    labels, scores = np.array([0, 1, 1]), np.array([0.1, 0.5, 0.9])
    steps = ranked(labels, scores, np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    for values in (steps.auc(), steps.one_to_one().ap(), steps.tpr_at_fpr(0.05)):
        assert values[0] == 1
        assert np.isnan(values[1:]).all()
    assert np.isnan(steps.best_balance()[1:]).all()
