"""The head alone: logistic regression on what the frozen tower gives.

    minimise  sum_i w_i log(1 + exp(-y_i (theta x_i + b))) + l2 / 2 |theta|^2

with x standardised by the weighted mean and deviation and w summing to 1. Float64 and L-BFGS
from zero: the same data give the same head. Experts start with a zero update, so training
starts exactly here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fakescan.errors import ConfigError
from fakescan.model.head import Head

MAX_STEPS = 200
TOLERANCE = 1e-7
STD_FLOOR = 1e-6
"""Added to deviations: a feature that never varies stays harmless."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted mean and deviation of features, (F,) each."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def moments(features: NDArray[np.float32], weights: NDArray[np.float64]) -> Moments:
    """Mean and deviation of (n, F) features with weights (n,) that sum to 1."""
    mean = weights @ features
    spread = np.zeros_like(mean)
    for row, weight in zip(features, weights, strict=True):  # no second copy of all features
        spread += weight * (row - mean) ** 2
    return Moments(mean, np.sqrt(spread) + STD_FLOOR)


def fit_head(
    head: Head,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    l2: float,
) -> float:
    """Set the head to the fitted probe; gives the weighted BCE it ends at.

    Args:
        head: changed in place.
        features: (n, F), raw.
        labels: (n,), 0 real, 1 fake.
        weights: (n,), summing to 1.
        l2: weight of the squared norm.
    """
    found = moments(features, weights)
    x = torch.from_numpy((features - found.mean) / found.std)  # (n, F) float64
    y = torch.from_numpy(labels.astype(np.float64))
    w = torch.from_numpy(weights)
    theta, bce = _minimise(x, y, w, l2)
    head.standardise(torch.from_numpy(found.mean).float(), torch.from_numpy(found.std).float())
    with torch.no_grad():
        head.weight.copy_(theta[:-1])
        head.bias.copy_(theta[-1])
    return bce


@torch.no_grad()
def restandardise(head: Head, found: Moments) -> None:
    """Read features standardised by other statistics; the function stays the same."""
    weight, bias = head.folded()
    mean, std = torch.from_numpy(found.mean).float(), torch.from_numpy(found.std).float()
    mean, std = mean.to(weight.device), std.to(weight.device)
    head.standardise(mean, std)
    head.bias.copy_(bias + (weight * mean).sum())
    head.weight.copy_(weight * head.std)


def check_memory(rows: int, features: int) -> None:
    """Refuse a probe that would not fit.

    Raises:
        ConfigError: more memory needed than is free.
    """
    needed, free = rows * features * 16, _free_bytes()
    if free is not None and needed > free:
        raise ConfigError(
            f"probe: {needed / 1e9:.1f} GB of memory needed for {rows} draws, "
            f"{free / 1e9:.1f} GB are free; set a lower probe.max_rows"
        )


def thin(rows: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """At most `limit` rows, evenly spread."""
    step = max(1.0, len(rows) / limit)
    return [rows[int(i * step)] for i in range(min(len(rows), limit))]


def _minimise(x: Tensor, y: Tensor, w: Tensor, l2: float) -> tuple[Tensor, float]:
    theta = torch.zeros(x.shape[1] + 1, dtype=x.dtype, requires_grad=True)

    def bce() -> Tensor:
        logit = x @ theta[:-1] + theta[-1]
        losses = functional.binary_cross_entropy_with_logits(logit, y, reduction="none")
        return (w * losses).sum()

    minimise(theta, lambda: bce() + l2 / 2 * theta[:-1].square().sum())
    with torch.no_grad():
        return theta.detach(), float(bce())


def minimise(theta: Tensor, loss: Callable[[], Tensor]) -> None:
    """Move parameters to where a smooth convex loss is least, by L-BFGS.

    Args:
        theta: a leaf that requires gradients; changed in place.
        loss: of `theta` as it is, ().
    """
    solver = torch.optim.LBFGS(
        [theta],
        max_iter=MAX_STEPS,
        history_size=20,
        tolerance_grad=TOLERANCE,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        solver.zero_grad()
        total = loss()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(closure)  # type: ignore[no-untyped-call]


def _free_bytes() -> int | None:
    """Memory that could be had now, where the system tells."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None
