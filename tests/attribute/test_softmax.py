"""The classifier is the regression that it says, and grows without moving old logits."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fakescan.attribute.softmax import Linear, balanced, fit, grow


def data(n, features, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    return rng.normal(size=(n, features)) + 2 * np.eye(3, features)[labels], labels


@pytest.mark.parametrize(("n", "features"), [(90, 5), (30, 60)])
def test_it_is_scikit_learns_regression(n, features):
    x, y = data(n, features)
    l2 = 0.01
    ours = fit(x, y, 3, l2).logits(x)
    weights = balanced(y)
    mean = weights @ x
    std = np.sqrt(weights @ (x - mean) ** 2)
    theirs = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=5000)
    theirs.fit((x - mean) / std, y, sample_weight=weights)
    found = theirs.decision_function((x - mean) / std)
    centred = [z - z.mean(axis=1, keepdims=True) for z in (ours, found)]
    assert np.abs(centred[0] - centred[1]).max() < 1e-3


def test_classes_weigh_the_same_however_few_their_images():
    weights = balanced(np.array([0, 0, 0, 2]))
    assert weights == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_growth_keeps_old_logits_exactly():
    rng = np.random.default_rng(0)
    old = Linear(rng.normal(size=(4, 20)), rng.normal(size=4))
    x = rng.normal(size=(50, 33))
    new = grow(old, 7, 33)
    assert np.array_equal(new.weight[:4, :20], old.weight)
    before, after = old.logits(x[:, :20]), new.logits(x)
    assert np.array_equal(before.astype(np.float32), after[:, :4].astype(np.float32))
    assert not after[:, 4:].any()


def test_fixed_classes_stay_and_new_ones_learn_beside_them():
    x, y = data(120, 4)
    old = fit(x[y < 2], y[y < 2], 2, 1e-3)
    new = fit(x, y, 1, 1e-3, fixed=old.logits(x))
    logits = np.concatenate([old.logits(x), new.logits(x)], axis=1)
    assert (logits.argmax(axis=1) == y).mean() > 0.85
    assert (logits.argmax(axis=1)[y == 2] == 2).mean() > 0.85
