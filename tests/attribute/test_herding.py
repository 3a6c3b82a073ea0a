"""Herding is the textbook's."""

import numpy as np
import pytest

from fakescan.attribute.herding import herd, quota


def textbook(features, count):
    """LoRAX's loop as the paper states it, one image and one vector at a time."""
    rows = [row / np.linalg.norm(row) for row in features.astype(np.float64)]
    mean = sum(rows) / len(rows)
    w = mean.copy()
    chosen = []
    for _ in range(1000):
        best = max(range(len(rows)), key=lambda i: float(w @ rows[i]))
        if best not in chosen:
            chosen.append(best)
        w = w + mean - rows[best]
        if len(chosen) == count:
            break
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_herding_is_the_slow_textbook_loop(seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(30, 12)) + rng.normal(size=12)
    assert herd(features, 10) == textbook(features, 10)


def test_a_shorter_choice_is_the_beginning_of_a_longer_one():
    features = np.random.default_rng(1).normal(size=(40, 6))
    assert herd(features, 25)[:7] == herd(features, 7)


def test_a_repeated_pick_adds_nothing_and_all_images_are_found():
    features = np.vstack([np.ones((1, 4)), np.eye(4), -np.ones((1, 4))])
    found = herd(features, 6)
    assert sorted(found) == list(range(6))
    assert herd(features, 99) == found


def test_scale_decides_nothing():
    features = np.random.default_rng(2).normal(size=(20, 5))
    assert herd(features * np.linspace(1, 50, 20)[:, None], 8) == herd(features, 8)


@pytest.mark.parametrize(
    ("memory", "classes", "each"),
    [(500, 14, 35), (500, 10, 50), (500, 24, 20), (3, 4, 0), (5, 0, 0)],
)
def test_each_class_keeps_as_many_as_the_paper_says(memory, classes, each):
    assert quota(memory, classes) == each


def test_no_image_makes_no_exemplar():
    assert herd(np.empty((0, 4)), 3) == []
