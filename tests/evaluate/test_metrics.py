"""Metrics by hand, and what they must not depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.evaluate.metrics import (
    ap_one_to_one,
    average_precision,
    balanced_accuracy_threshold,
    ece,
    evaluate,
    roc_auc,
    tpr_at_fpr,
    weighted_ap,
    weighted_auc,
)


def arrays(labels, scores):
    return np.array(labels), np.array(scores, dtype=np.float64)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([1, 0], [0.1, 0.9], 0.5),
        ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], 0.5 * 1 + 0.5 * 2 / 3),
        ([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], 0.25),  # all tied: the base rate
        ([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1], 0.5 * 1 + 0.5 * 2 / 3),  # a tie is one step
        ([1, 0, 0, 1], [0.4, 0.3, 0.2, 0.1], 0.5 * 1 + 0.5 * 2 / 4),
    ],
)
def test_average_precision_by_hand(labels, scores, expected):
    assert average_precision(*arrays(labels, scores)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([1, 0], [0.1, 0.9], 0.0),
        ([1, 0], [0.5, 0.5], 0.5),
        ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], 3 / 4),  # of 4 couples 3 are in order
        ([1, 0, 0, 1], [0.9, 0.9, 0.1, 0.1], (0.5 + 1 + 0 + 0.5) / 4),
    ],
)
def test_roc_auc_by_hand(labels, scores, expected):
    assert roc_auc(*arrays(labels, scores)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        # a fake, then two of three reals (each counting 1/3), then the last real
        ([0, 0, 0, 1], [0.9, 0.8, 0.1, 0.5], 1 / (1 + 2 / 3)),
        ([0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),  # all tied: the base rate of one to one
        ([0, 1, 1], [0.5, 0.9, 0.1], 0.5 * 1 + 0.5 * 2 / (2 + 2)),
    ],
)
def test_ap_at_one_to_one_by_hand(labels, scores, expected):
    assert ap_one_to_one(*arrays(labels, scores)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("max_fpr", "expected"), [(0.0, 1 / 3), (0.49, 1 / 3), (0.5, 2 / 3), (1.0, 1.0)]
)
def test_tpr_at_fpr_by_hand(max_fpr, expected):
    labels, scores = arrays([1, 0, 1, 1, 0], [0.9, 0.8, 0.7, 0.2, 0.2])
    assert tpr_at_fpr(labels, scores, max_fpr) == pytest.approx(expected)


def test_a_real_on_top_leaves_nothing_without_false_positives():
    assert tpr_at_fpr(*arrays([0, 1], [0.9, 0.1]), 0.0) == 0.0


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], 0.4),  # the middle of the gap
        ([0, 1, 0, 1, 1], [0.1, 0.3, 0.5, 0.7, 0.9], 0.6),  # 2/3 found and all reals right
        ([0, 0, 1, 0, 1], [0.1, 0.2, 0.4, 0.6, 0.8], 0.3),  # one real wrong beats one fake lost
        ([1, 0], [0.2, 0.8], 0.2),  # nothing to gain: all are called fake
    ],
)
def test_the_balanced_threshold_by_hand(labels, scores, expected):
    assert balanced_accuracy_threshold(*arrays(labels, scores)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "probabilities", "bins", "expected"),
    [
        ([0, 1], [0.0, 1.0], 10, 0.0),
        ([1, 0], [0.0, 1.0], 10, 1.0),
        ([0, 1, 1, 1], [0.75, 0.75, 0.75, 0.75], 10, 0.0),
        ([0, 0, 1, 1], [0.2, 0.4, 0.6, 0.9], 2, (0.6 + 0.5) / 4),  # per half: 0.6 over, 0.5 under
    ],
)
def test_calibration_error_by_hand(labels, probabilities, bins, expected):
    assert ece(*arrays(labels, probabilities), bins) == pytest.approx(expected)


def test_a_score_on_the_threshold_is_fake():
    metrics = evaluate(*arrays([0, 0, 1, 1], [0.5, 0.1, 0.5, 0.2]), 0.5)
    assert (metrics.acc, metrics.real_acc, metrics.fake_acc) == (0.5, 0.5, 0.5)
    assert metrics.auc == pytest.approx((0.5 + 1 + 0 + 1) / 4)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 1], [0.1, 0.2]),
        ([0, 0], [0.1, 0.2]),
        ([0, 2], [0.1, 0.2]),
        ([0, 1], [0.1, float("nan")]),
        ([0, 1], [0.1, 0.2, 0.3]),
    ],
)
def test_what_has_no_metric_is_a_wrong_call(labels, scores):
    with pytest.raises(ValueError, match=r"labels|scores"):
        roc_auc(*arrays(labels, scores))


@st.composite
def scored(draw):
    count = draw(st.integers(2, 40))
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))]
    scores = draw(st.lists(st.integers(-9, 9), min_size=len(labels), max_size=len(labels)))
    return arrays(labels, scores)


RANKING = pytest.mark.parametrize("metric", [average_precision, ap_one_to_one, roc_auc])


@RANKING
@given(data=scored(), seed=st.integers(0, 99))
def test_the_order_of_images_does_not_matter(metric, data, seed):
    labels, scores = data
    order = np.random.default_rng(seed).permutation(len(labels))
    assert metric(labels[order], scores[order]) == pytest.approx(metric(labels, scores))


@RANKING
@given(data=scored())
def test_only_the_ranking_matters(metric, data):
    labels, scores = data
    assert metric(labels, np.exp(scores) * 3 - 1) == pytest.approx(metric(labels, scores))


@given(scored())
def test_auc_is_the_share_of_couples_in_order(data):
    labels, scores = data
    difference = scores[labels == 1][:, None] - scores[labels == 0][None]
    expected = ((difference > 0) + 0.5 * (difference == 0)).mean()
    assert roc_auc(labels, scores) == pytest.approx(expected)


@given(scored())
def test_swapping_the_labels_mirrors_auc(data):
    labels, scores = data
    assert roc_auc(1 - labels, -scores) == pytest.approx(roc_auc(labels, scores))


@given(scored(), st.integers(1, 4))
def test_more_of_the_same_reals_leave_ap_at_one_to_one(data, times):
    labels, scores = data
    many = np.where(labels == 0, times, 1)
    repeated = np.repeat(labels, many), np.repeat(scores, many)
    assert ap_one_to_one(*repeated) == pytest.approx(ap_one_to_one(labels, scores))


@given(scored(), st.integers(0, 99))
def test_a_weight_counts_as_so_many_images(data, seed):
    labels, scores = data
    times = np.random.default_rng(seed).integers(1, 4, len(labels))
    repeated = np.repeat(labels, times), np.repeat(scores, times)
    for weighted, plain in ((weighted_ap, average_precision), (weighted_auc, roc_auc)):
        value = weighted(labels, scores, times[None].astype(np.float64))
        assert value[0] == pytest.approx(plain(*repeated))


@given(scored())
def test_metrics_lie_between_0_and_1(data):
    for metric in (average_precision, ap_one_to_one, roc_auc):
        assert 0 <= metric(*data) <= 1 + 1e-12
