"""An index with known labels -> figures, intervals, and how likely chance would do as well.

Intervals are bootstrap percentiles over files; the p value is that of R@1 under shuffled labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.intervals import RESAMPLES, Estimate, bounded
from fakescan.loras.cluster import distances, partition
from fakescan.loras.metrics import (
    Floats,
    Labels,
    Retrieval,
    ari,
    chance_at_1,
    nmi,
    purity,
    retrieval,
)

SHUFFLES = 1000
SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What similarities are worth on labelled files; fractions in [0, 1]."""

    files: int
    labels: int
    r_at_1: Estimate
    r_at_5: Estimate
    mean_ap: Estimate
    chance: float
    """R@1 of a random ranking."""
    p_value: float
    """Share of shuffles of the labels that reach this R@1; at least 1 / (shuffles + 1)."""
    ari_kmeans: float
    """Mean of three seeds; as many clusters as labels."""
    nmi_kmeans: float
    purity_kmeans: float
    ari_linkage: float
    silhouette: float
    """Of the labels themselves, mean over files."""
    content_r_at_1: float | None = None
    """R@1 for content instead of label: what the similarity sees besides."""
    content_chance: float | None = None


def evaluate(
    similarity: NDArray[np.float32],
    labels: Labels,
    *,
    contents: Labels | None = None,
    groups: Labels | None = None,
    seed: int = 0,
) -> Evaluation:
    """Judge similarities by labels.

    Args:
        similarity: (N, N).
        labels: from 0, (N,).
        contents: what training images show, from 0, (N,).
        groups: files of one group are no neighbours of each other, (N,).
        seed: of resamples and shuffles.
    """
    excluded = None if groups is None else groups[:, None] == groups[None, :]
    found = retrieval(similarity, labels, excluded)
    rng = np.random.default_rng(seed)
    count = len(np.unique(labels))
    runs = [partition(similarity, count, "kmeans", s) for s in SEEDS]
    joined = partition(similarity, count, "linkage", 0)
    content = None if contents is None else retrieval(similarity, contents)
    return Evaluation(
        files=len(labels),
        labels=count,
        r_at_1=_interval(found.first, rng),
        r_at_5=_interval(found.fifth, rng),
        mean_ap=_interval(found.precision, rng),
        chance=chance_at_1(labels),
        p_value=_p_value(similarity, labels, excluded, found, rng),
        ari_kmeans=_mean(ari, labels, runs),
        nmi_kmeans=_mean(nmi, labels, runs),
        purity_kmeans=_mean(purity, labels, runs),
        ari_linkage=ari(labels, joined),
        silhouette=_silhouette(similarity, labels),
        content_r_at_1=None if content is None else float(np.nanmean(content.first)),
        content_chance=None if contents is None else chance_at_1(contents),
    )


def _interval(values: Floats, rng: np.random.Generator) -> Estimate:
    known = values[~np.isnan(values)]
    if not len(known):
        return Estimate(float("nan"), float("nan"), float("nan"))
    draws = rng.integers(0, len(known), (RESAMPLES, len(known)))
    return bounded(float(known.mean()), known[draws].mean(axis=1))


def _p_value(
    similarity: NDArray[np.float32],
    labels: Labels,
    excluded: NDArray[np.bool_] | None,
    found: Retrieval,
    rng: np.random.Generator,
) -> float:
    """Only the nearest other matters, and it stays the same under shuffles of the labels."""
    hidden = np.eye(len(labels), dtype=bool)
    if excluded is not None:
        hidden |= excluded
    scores = np.where(hidden | np.isnan(similarity), -np.inf, similarity)
    nearest = scores.argmax(axis=1)  # (N,)
    measured = float(np.nanmean(found.first))
    reached = 0
    for _ in range(SHUFFLES):
        shuffled = rng.permutation(labels)
        reached += float((shuffled[nearest] == shuffled).mean()) >= measured
    return (reached + 1) / (SHUFFLES + 1)


def _mean(score: Callable[[Labels, Labels], float], labels: Labels, runs: list[Labels]) -> float:
    return float(np.mean([score(labels, clusters) for clusters in runs]))


def _silhouette(similarity: NDArray[np.float32], labels: Labels) -> float:
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(distances(similarity), labels, metric="precomputed"))
