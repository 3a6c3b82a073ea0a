"""Compare ways of weighing sources when a probe learns; prints Markdown.

    python scripts/experiments/compare_balance.py FEATURES

FEATURES comes from `recipe_features.py`. Every row learns from what the shipped detector learnt
from: middle squares, drawn views and round trips, with l2 0.3. What differs is for how many images
a source counts at most, and, in the robust rows, how often sources were raised that the probe fits
badly: as in Group DRO (Sagawa et al., arXiv 1911.08731), each round multiplies the weight of a
source by exp(RATE * its mean loss), within its class, and fits anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from compare_decoders import SQUARES
from compare_recipes import L2, PAIR_WEIGHT, PLAIN, Floats, Judge, Stored, stored
from numpy.typing import NDArray

from fakescan.model.head import Head
from fakescan.train.probe import fit_head
from fakescan.train.sampling import image_weights, stratify

Whole = NDArray[np.int64]
LEVELS = (4, 6, 8)
RATE = 1.0


class Balance(NamedTuple):
    """One row."""

    name: str
    cap: int
    rounds: int = 0


ROWS = (
    Balance("at most 60 images of a source (shipped)", 60),
    Balance("at most 10", 10),
    Balance("at most 30", 30),
    Balance("every image alike", 1_000_000),
    Balance("60, robust, 3 rounds", 60, 3),
    Balance("60, robust, 10 rounds", 60, 10),
)


def logits_of(train: Stored, balance: Balance, squares: list[Stored]) -> Floats:
    """What the probe says of the development images, (n,), the mean over squares."""
    features = train.read(LEVELS)
    labels = np.array([s.label for s in train.samples])
    everything = list(range(len(labels)))
    strata = stratify(train.samples, everything, balance.cap, PAIR_WEIGHT)
    weights = image_weights(train.samples, strata)
    groups = np.unique([f"{s.label} {s.source}" for s in train.samples], return_inverse=True)[1]
    for step in range(balance.rounds + 1):
        head = Head(features.shape[1])
        fit_head(head, features, labels, weights / weights.sum(), L2)
        weight, bias = (t.detach().numpy().astype(np.float64) for t in head.folded())
        if step < balance.rounds:
            signs = 2 * labels - 1
            losses = np.logaddexp(0, -signs * (features @ weight + bias))
            weights = raised(weights, losses, labels, groups)
    found: Floats = np.mean([s.read(LEVELS) @ weight + bias for s in squares], axis=0)
    return found


def raised(weights: Floats, losses: Floats, labels: Whole, groups: Whole) -> Floats:
    """Weights (n,) after one round, of the same sum in each class."""
    mean = np.bincount(groups, weights * losses) / np.bincount(groups, weights)
    found: Floats = weights * np.exp(RATE * mean)[groups]
    for label in (0, 1):
        chosen = labels == label
        found[chosen] *= weights[chosen].sum() / found[chosen].sum()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    folder: Path = parser.parse_args().features
    squares = [stored(folder, [f"dev-{name}"]) for name in SQUARES]
    judge = Judge(squares[0].samples)
    train = stored(folder, ["train-crop", *PLAIN])
    base = None
    print("| weighing | three squares: all | unseen | gain, all |\n|---|---|---|---|")
    for balance in ROWS:
        logits = logits_of(train, balance, squares)
        cells = [judge(logits, unseen=False), judge(logits, unseen=True)]
        cells.append("" if base is None else judge.gain(logits, base))
        base = logits if base is None else base
        print(f"| {balance.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
