"""Groups of files that are alike, and how well each file fits.

`linkage` joins the two most similar groups until as few are left as wanted (average linkage on
1 - similarity); `kmeans` divides the files' main coordinates, scaled to length 1. How many groups
there are, unless it is said, is what gives the highest mean silhouette.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_samples

from fakescan.errors import ConfigError

COMPONENTS = 20
RESTARTS = 10
MAX_TRIED = 40
"""Numbers of groups that are tried when none is said."""

Labels = NDArray[np.int_]
Divide = Callable[[int], Labels]
"""Number of groups -> labels from 1."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Groups of N files."""

    labels: Labels
    """From 1, largest group first, (N,)."""
    silhouettes: NDArray[np.float64]
    """How much closer a file is to its own group than to the next, (N,), in [-1, 1]."""
    to_own: NDArray[np.float64]
    """Mean similarity to the others of its group, (N,); 1 for a file alone."""


def distances(similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 - similarity, (N, N), with pairs that cannot be compared as unrelated: 1."""
    found = 1.0 - np.nan_to_num(similarity.astype(np.float64), nan=0.0)
    np.fill_diagonal(found, 0.0)
    out: NDArray[np.float64] = np.maximum((found + found.T) / 2, 0.0)
    return out


def tree(similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average linkage as SciPy has it, (N - 1, 4)."""
    out: NDArray[np.float64] = linkage(squareform(distances(similarity), checks=False), "average")
    return out


def coordinates(
    similarity: NDArray[np.float32], components: int = COMPONENTS
) -> NDArray[np.float64]:
    """Main coordinates of the files, (N, components), from inner products (N, N)."""
    known = np.nan_to_num(similarity.astype(np.float64), nan=0.0)
    values, vectors = np.linalg.eigh((known + known.T) / 2)
    places = np.argsort(-values)[: min(components, len(known))]
    out: NDArray[np.float64] = vectors[:, places] * np.sqrt(np.maximum(values[places], 0.0))
    return out


def cluster(
    similarity: NDArray[np.float32], k: int | None, *, method: str = "kmeans", seed: int = 0
) -> Clusters:
    """Put files into groups.

    Args:
        similarity: (N, N).
        k: number of groups; None finds it.
        method: `linkage` or `kmeans`.
        seed: of k-means.

    Raises:
        ConfigError: no files, or fewer than groups.
    """
    count = len(similarity)
    if not count:
        raise ConfigError("no files to put into groups")
    if k is not None and not 1 <= k <= count:
        raise ConfigError(f"{k} groups of {count} files: from 1 to {count} can be had")
    divide = _by_linkage(similarity) if method == "linkage" else _by_kmeans(similarity, seed)
    far = distances(similarity)
    if k is None:
        tried = range(2, min(count - 1, MAX_TRIED) + 1)
        options = [divide(n) for n in tried] or [np.ones(count, np.int_)]
        labels = max(options, key=lambda labels: float(_silhouettes(far, labels).mean()))
    else:
        labels = divide(k)
    labels = _largest_first(labels)
    return Clusters(labels, _silhouettes(far, labels), _to_own(far, labels))


def partition(similarity: NDArray[np.float32], k: int, method: str, seed: int) -> Labels:
    """Labels of exactly k groups, (N,)."""
    if method == "linkage":
        return _by_linkage(similarity)(k)
    return _by_kmeans(similarity, seed)(k)


def _by_linkage(similarity: NDArray[np.float32]) -> Divide:
    if len(similarity) < 2:
        return lambda _k: np.ones(len(similarity), np.int_)
    joined = tree(similarity)
    return lambda k: fcluster(joined, k, "maxclust")


def _by_kmeans(similarity: NDArray[np.float32], seed: int) -> Divide:
    points = coordinates(similarity)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.where(lengths > 0, lengths, 1.0)

    def divide(k: int) -> Labels:
        with warnings.catch_warnings():  # fewer different files than groups is no fault
            warnings.simplefilter("ignore", ConvergenceWarning)
            found: Labels = KMeans(k, n_init=RESTARTS, random_state=seed).fit_predict(points) + 1
        return found

    return divide


def _silhouettes(far: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    if not 2 <= len(np.unique(labels)) < len(labels):
        return np.zeros(len(labels))
    out: NDArray[np.float64] = silhouette_samples(far, labels, metric="precomputed")
    return out


def _to_own(far: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    found = np.ones(len(labels))
    for label in np.unique(labels):
        (places,) = np.nonzero(labels == label)
        if len(places) > 1:
            found[places] = 1.0 - far[np.ix_(places, places)].sum(axis=1) / (len(places) - 1)
    return found


def _largest_first(labels: Labels) -> Labels:
    names, first, counts = np.unique(labels, return_index=True, return_counts=True)
    order = sorted(range(len(names)), key=lambda i: (-counts[i], first[i]))
    number = {names[place]: rank for rank, place in enumerate(order, 1)}
    return np.array([number[label] for label in labels], np.int_)
