"""How well similarities bring files of one label together.

    R@k    share of files with a file of their own label among the k most similar others
    mAP    mean over files of the average precision of all others, ranked
    ARI    adjusted Rand index of clusters and labels; NMI: normalised mutual information
    purity share of files that have the commonest label of their cluster

Shapes: N files; similarity (N, N), NaN where two cannot be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

Floats = NDArray[np.float64]
Labels = NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Per file, so that it can be resampled; NaN for files that have no other of their label."""

    first: Floats
    """1 where the most similar other has the file's label, else 0, (N,)."""
    fifth: Floats
    """1 where one of the five most similar others has it, (N,)."""
    precision: Floats
    """Average precision, (N,)."""


def retrieval(
    similarity: NDArray[np.float32], labels: Labels, excluded: NDArray[np.bool_] | None = None
) -> Retrieval:
    """Rank all others for each file.

    Args:
        similarity: (N, N).
        labels: (N,).
        excluded: pairs that are not ranked, (N, N), besides each file with itself.
    """
    hidden = np.eye(len(labels), dtype=bool)
    if excluded is not None:
        hidden |= excluded
    scores = np.where(np.isnan(similarity), -np.inf, similarity)
    order = np.argsort(np.where(hidden, np.inf, -scores), axis=1, kind="stable")  # hidden last
    counts = (~hidden).sum(axis=1)  # (N,)
    hits = labels[order] == labels[:, None]  # (N, N)
    hits &= np.arange(len(labels))[None, :] < counts[:, None]
    wanted = hits.sum(axis=1)
    ranks = np.arange(1, len(labels) + 1)
    found = np.cumsum(hits, axis=1)
    with np.errstate(invalid="ignore"):
        precision = (hits * found / ranks).sum(axis=1) / wanted
    has_any = wanted > 0
    first = np.where(has_any, hits[:, 0], np.nan)
    fifth = np.where(has_any, hits[:, :5].any(axis=1), np.nan)
    return Retrieval(first, fifth, np.where(has_any, precision, np.nan))


def chance_at_1(labels: Labels) -> float:
    """R@1 of a random ranking."""
    counts = np.bincount(labels)[labels] - 1
    shares = counts[counts > 0] / (len(labels) - 1)
    return float(shares.mean()) if len(shares) else float("nan")


def purity(labels: Labels, clusters: Labels) -> float:
    """Share of files that have the commonest label of their cluster."""
    best = sum(int(np.bincount(labels[clusters == c]).max()) for c in np.unique(clusters))
    return best / len(labels)


def ari(labels: Labels, clusters: Labels) -> float:
    """Adjusted Rand index: 0 for chance, 1 for the same groups."""
    return float(adjusted_rand_score(labels, clusters))


def nmi(labels: Labels, clusters: Labels) -> float:
    """Normalised mutual information, by the arithmetic mean."""
    return float(normalized_mutual_info_score(labels, clusters))
