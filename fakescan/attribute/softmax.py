"""The classifier alone: multinomial logistic regression on what the extractors give.

    minimise  sum_i w_i (-log softmax(W x_i + b)[y_i]) + l2 / 2 |W|^2

with x standardised by the weighted mean and deviation and w summing to 1; from the second task on
|W - W_old|^2 in place of |W|^2. Float64 and L-BFGS from
zero: the same data give the same classifier. With fewer images than features it is solved in the
images' span, where the solution lies, which is the same and much cheaper.

Shapes: n images, F features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fakescan.train.probe import minimise, moments


@dataclass(frozen=True, slots=True)
class Linear:
    """Logits W x + b of raw features."""

    weight: NDArray[np.float64]
    """(C, F)"""
    bias: NDArray[np.float64]
    """(C,)"""

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, F) -> (n, C)."""
        return np.asarray(features @ self.weight.T + self.bias, np.float64)


def balanced(labels: NDArray[np.int_]) -> NDArray[np.float64]:
    """Weights (n,) that sum to 1, each class that occurs weighing the same."""
    counts = np.bincount(labels)
    weights = 1 / counts[labels]
    return np.asarray(weights / weights.sum(), np.float64)


def fit(
    features: NDArray[np.floating],
    labels: NDArray[np.int_],
    classes: int,
    l2: float,
    fixed: NDArray[np.floating] | None = None,
    around: Linear | None = None,
) -> Linear:
    """The fitted classifier.

    Args:
        features: (n, F), raw.
        labels: (n,), below `classes` and the fixed ones together.
        classes: C, to be fitted; labels count on from the fixed ones.
        l2: weight of the squared norm, on standardised features.
        fixed: logits of classes that stay as they are, (n, C_old); None: no such classes.
        around: the penalty counts from this one, of C classes and F features, instead of from 0:
            what few images do not contradict stays as it was.
    """
    weights = balanced(labels)
    found = moments(features.astype(np.float32, copy=False), weights)
    x = (features - found.mean) / found.std  # (n, F) float64
    basis = None
    if len(x) < x.shape[1]:
        basis, lower = np.linalg.qr(x.T)  # (F, n), (n, n)
        x = lower.T  # the images' coordinates
    count = 0 if fixed is None else fixed.shape[1]
    start = np.zeros((len(x), count + classes))  # logits before anything is fitted
    if fixed is not None:
        start[:, :count] = fixed
    if around is not None:
        start[:, count:] = around.logits(features)
    theta = _minimise(x, labels, weights, l2, start[:, count:], start[:, :count])
    weight, bias = theta[:, :-1].numpy(), theta[:, -1].numpy()
    if basis is not None:
        weight = weight @ basis.T
    weight = weight / found.std
    bias = bias - weight @ found.mean
    if around is None:
        return Linear(weight, bias)
    return Linear(around.weight + weight, around.bias + bias)


def _minimise(
    x: NDArray[np.float64],
    labels: NDArray[np.int_],
    weights: NDArray[np.float64],
    l2: float,
    start: NDArray[np.float64],
    fixed: NDArray[np.float64],
) -> Tensor:
    """(C, features + 1), the bias last; `start` (n, C) is added to the logits of these classes."""
    rows, y, w = torch.from_numpy(x), torch.from_numpy(labels), torch.from_numpy(weights)
    first, others = torch.from_numpy(start), torch.from_numpy(fixed)
    theta = torch.zeros(start.shape[1], x.shape[1] + 1, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        logits = torch.cat([others, first + rows @ theta[:, :-1].T + theta[:, -1]], dim=-1)
        losses = functional.cross_entropy(logits, y, reduction="none")
        return (w * losses).sum() + l2 / 2 * theta[:, :-1].square().sum()

    minimise(theta, loss)
    return theta.detach()


def grow(old: Linear, classes: int, features: int) -> Linear:
    """The same classifier of more classes and features; old logits stay exactly what they are.

    Args:
        old: left as it is.
        classes: in all, from now on; new ones get logit 0.
        features: in all, from now on; new ones count nothing yet.
    """
    weight = np.zeros((classes, features))
    weight[: len(old.bias), : old.weight.shape[1]] = old.weight
    return Linear(weight, np.concatenate([old.bias, np.zeros(classes - len(old.bias))]))
