"""Figures of a sequence of tasks, by hand."""

import math

import numpy as np
import pytest

from fakescan.attribute.metrics import (
    Sequential,
    binary_accuracy,
    confusion,
    fake_scores,
    mean_average_precision,
    multi_real_accuracy,
)

REAL = np.array([True, False, True, False])
"""Two tasks: classes 0 and 2 are reals, 1 and 3 generators."""


@pytest.mark.parametrize(
    ("labels", "called", "multi", "binary"),
    [
        ([0, 2, 1, 3], [2, 0, 1, 3], 1.0, 1.0),  # a real of another task is a real
        ([0, 2, 1, 3], [0, 2, 3, 1], 0.5, 1.0),  # generators mixed up, all called fake
        ([1, 1, 3, 0], [0, 1, 3, 1], 0.5, 0.5),
        ([1], [2], 0.0, 0.0),
    ],
)
def test_accuracies_on_hand_made_calls(labels, called, multi, binary):
    labels, called = np.array(labels), np.array(called)
    assert multi_real_accuracy(labels, called, REAL) == multi
    assert binary_accuracy(labels, called, REAL) == binary


def test_the_figures_of_two_tasks_are_those_of_the_hand_made_matrix():
    sequence = Sequential(np.array([[0.9, 0.8], [0.0, 0.7]]))
    assert sequence.final == pytest.approx(0.75)
    assert sequence.transfer == pytest.approx(-0.10)
    assert sequence.forgetting == pytest.approx(0.10)
    assert sequence.average == pytest.approx((0.9 + 0.75) / 2)


def test_what_lies_below_the_diagonal_counts_nowhere():
    upper = np.array([[0.9, 0.6, 0.5], [0.0, 0.8, 0.7], [0.0, 0.0, 1.0]])
    filled = upper + np.tril(np.ones((3, 3)), -1)
    for name in ("final", "average", "transfer"):
        assert getattr(Sequential(upper), name) == getattr(Sequential(filled), name)
    assert Sequential(upper).transfer == pytest.approx(((0.5 - 0.9) + (0.7 - 0.8)) / 2)
    assert Sequential(upper).average == pytest.approx((0.9 + 0.7 + (0.5 + 0.7 + 1) / 3) / 3)


def test_a_single_task_cannot_be_forgotten():
    assert math.isnan(Sequential(np.array([[0.9]])).transfer)
    assert Sequential(np.array([[0.9]])).average == 0.9


def test_r_must_be_square():
    with pytest.raises(ValueError, match="square"):
        Sequential(np.zeros((2, 3)))


def test_cddb_scores_compare_the_best_fake_with_the_best_real():
    chances = np.array([[0.2, 0.3, 0.4, 0.1], [0.6, 0.2, 0.1, 0.1]])
    assert fake_scores(chances, REAL) == pytest.approx([0.3 / 0.7, 0.2 / 0.8])


def test_cddb_map_averages_over_tasks():
    real = np.array([True, False])
    right = np.array([[0.9, 0.1], [0.2, 0.8]])
    labels = np.array([0, 1])
    assert mean_average_precision([labels], [right], real) == 1.0
    mixed = mean_average_precision([labels, labels], [right, right[::-1]], real)
    assert mixed == pytest.approx((1.0 + 0.5) / 2)  # the only fake comes second: precision 1/2


def test_the_confusion_counts_true_classes_by_row():
    table = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
