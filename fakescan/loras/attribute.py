"""Whose files one file is most like: the nearest labelled mean, and votes of the nearest files.

Files are unit vectors in the space of similarities. For a label c with files i, and a file q,

    to_mean(q, c) = mean of s(q, i) / sqrt(mean of s(i, j))       cosine with the label's mean
    votes(q, c)   = share of max(s, 0) that c has among the K files most similar to q

The label with the highest `to_mean` is named. How likely that is right comes from trials with the
labelled files themselves: each is left out once, which shows what a file of a known label looks
like, and once more with its whole label, which shows what a file of an unknown one looks like. A
logistic regression on to_mean, its lead over the second label, and votes tells the two apart. So
the probability holds for collections in which half of the files that are asked about are of no
known label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5
MIN_TRIALS = 20
"""Below it there is no probability: too few labelled files to learn one from."""
UNKNOWN_BELOW = 0.5

Floats = NDArray[np.float64]
Labels = NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One label beside the file that is asked about."""

    label: str
    files: int
    to_mean: float
    votes: float


@dataclass(frozen=True, slots=True)
class Trials:
    """What calibration has learned from, and how it would have done."""

    known: int
    """Files of labels that have others."""
    named_rightly: float
    """Share of them for which the nearest mean is that of their label, each left out."""
    kept: float
    """Share of them that were named rightly and not called unknown; five-fold."""
    refused: float
    """Share called unknown when their label was left out; five-fold."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the labelled files say of one file."""

    candidates: tuple[Candidate, ...]
    """Highest `to_mean` first."""
    probability: float | None
    """That the first label is right; None when there are too few labelled files."""
    is_unknown: bool
    """The probability is below what was asked for."""
    trials: Trials | None


def attribute(
    similarity: NDArray[np.float32],
    labels: Sequence[str],
    query: NDArray[np.float32],
    *,
    unknown_below: float = UNKNOWN_BELOW,
) -> Attribution:
    """Name the label that a file is most like.

    Args:
        similarity: of the labelled files, (N, N); NaN counts as unrelated.
        labels: theirs, (N,).
        query: of the file with each of them, (N,); NaN counts as unrelated.
        unknown_below: probability from which a label is named.
    """
    names, numbers = np.unique(np.array(labels, dtype=str), return_inverse=True)
    known = np.nan_to_num(similarity.astype(np.float64), nan=0.0)
    np.fill_diagonal(known, 1.0)
    asked = np.nan_to_num(query.astype(np.float64), nan=0.0)
    to_mean, votes = _measure(known, numbers, asked, np.ones(len(numbers), bool))
    order = np.argsort(-np.nan_to_num(to_mean, nan=-np.inf), kind="stable")
    candidates = tuple(
        Candidate(str(names[c]), int((numbers == c).sum()), float(to_mean[c]), float(votes[c]))
        for c in order
    )
    calibration = _calibrate(known, numbers, unknown_below)
    if calibration is None:
        return Attribution(candidates, None, is_unknown=False, trials=None)
    model, trials = calibration
    features = _features(to_mean, votes)
    probability = float(model.predict_proba(features[None])[0, 1])
    return Attribution(candidates, probability, probability < unknown_below, trials)


def _measure(
    similarity: Floats, labels: Labels, query: Floats, used: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """`to_mean` and `votes` of every label, (C,); NaN for one that has no used file.

    Args:
        similarity: (N, N).
        labels: from 0, (N,).
        query: (N,).
        used: files that count, (N,).
    """
    count = int(labels.max()) + 1
    to_mean = np.full(count, np.nan)
    for label in range(count):
        (places,) = np.nonzero((labels == label) & used)
        if len(places):
            length = np.sqrt(max(similarity[np.ix_(places, places)].mean(), 1e-12))
            to_mean[label] = query[places].mean() / length
    (there,) = np.nonzero(used)
    nearest = there[np.argsort(-query[there], kind="stable")[:NEIGHBOURS]]
    weights = np.maximum(query[nearest], 0.0)
    votes = np.bincount(labels[nearest], weights=weights, minlength=count)
    return to_mean, votes / max(weights.sum(), 1e-12)


def _features(to_mean: Floats, votes: Floats) -> Floats:
    """To the nearest mean, its lead, its votes: (3,)."""
    filled = np.nan_to_num(to_mean, nan=-1.0)
    best = int(filled.argmax())
    others = np.delete(filled, best)
    lead = filled[best] - others.max() if len(others) else 1.0
    return np.array([filled[best], lead, votes[best]])


def _calibrate(
    similarity: Floats, labels: Labels, unknown_below: float
) -> tuple[Pipeline, Trials] | None:
    trials = list(_trials(similarity, labels))
    known = [is_right for is_known, is_right, _ in trials if is_known]
    right = np.array([is_right for _, is_right, _ in trials], dtype=int)
    smallest = int(min(right.sum(), len(right) - right.sum())) if len(right) else 0
    if len(known) < MIN_TRIALS or smallest < NEIGHBOURS:
        return None
    features = np.stack([f for _, _, f in trials])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    held_out = cross_val_predict(model, features, right, cv=5, method="predict_proba")[:, 1]
    is_named = held_out >= unknown_below
    is_known = np.array([k for k, _, _ in trials])
    summary = Trials(
        known=len(known),
        named_rightly=float(np.mean(known)),
        kept=float((is_named & (right == 1))[is_known].mean()),
        refused=float((~is_named)[~is_known].mean()),
    )
    return model.fit(features, right), summary


def _trials(similarity: Floats, labels: Labels) -> Iterator[tuple[bool, bool, Floats]]:
    """Yield for each labelled file, left out: is its label known, is it named, the features."""
    everything = np.ones(len(labels), bool)
    for place, label in enumerate(labels):
        rest = everything.copy()
        rest[place] = False
        strangers = labels != label
        if not strangers.any() or not (rest & ~strangers).any():
            continue  # a label of one file, or the only label
        to_mean, votes = _measure(similarity, labels, similarity[place], rest)
        yield True, int(np.nanargmax(to_mean)) == label, _features(to_mean, votes)
        to_mean, votes = _measure(similarity, labels, similarity[place], strangers)
        yield False, False, _features(to_mean, votes)
