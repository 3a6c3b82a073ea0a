"""Compare ways of weighing sources when a probe learns; prints Markdown.

    python scripts/experiments/compare_balance.py FEATURES

FEATURES comes from `recipe_features.py`. Every row learns from what the shipped detector learnt
from: middle squares, drawn views and round trips, with l2 0.3. What differs is for how many images
a source counts at most, and, in the robust rows, how often sources were raised that the probe fits
badly: as in Group DRO (Sagawa et al., arXiv 1911.08731), each round multiplies the weight of a
source by exp(RATE * its mean loss), within its class, and fits anew. At last it names the groups
that the first row fits worst; of a source of reals, the fakes are its round trips.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from compare_recipes import (
    L2,
    PAIR_WEIGHT,
    PLAIN,
    SOURCE_CAP,
    SQUARES,
    Floats,
    Judge,
    Stored,
    stored,
)  # fmt: skip
from numpy.typing import NDArray

from fakescan.model.head import Head
from fakescan.train.probe import fit_head
from fakescan.train.sampling import image_weights, stratify

LEVELS = (4, 6, 8)
RATE = 1.0
WORST = 8
"""Groups that are named."""


class Balance(NamedTuple):
    """One row."""

    name: str
    cap: int
    rounds: int = 0


ROWS = (
    Balance(f"at most {SOURCE_CAP} images of a source (shipped)", SOURCE_CAP),
    Balance("at most 10", 10),
    Balance("at most 30", 30),
    Balance("every image alike", 1_000_000),
    Balance(f"{SOURCE_CAP}, robust, 3 rounds", SOURCE_CAP, 3),
    Balance(f"{SOURCE_CAP}, robust, 10 rounds", SOURCE_CAP, 10),
)


class Group(NamedTuple):
    """One class of one source, pairs included, and how badly the probe fits it."""

    name: str
    loss: float


def learn(train: Stored, balance: Balance) -> tuple[Floats, float, list[Group]]:
    """Weight (F,) and bias of the probe, and its groups, the worst first."""
    features = train.read(LEVELS)
    labels = np.array([s.label for s in train.samples])  # (n,)
    strata = stratify(train.samples, list(range(len(labels))), balance.cap, PAIR_WEIGHT)
    weights = image_weights(train.samples, strata)  # (n,)
    names, groups = np.unique(
        [f"{('real', 'fake')[s.label]} {s.source}" for s in train.samples], return_inverse=True
    )
    for step in range(balance.rounds + 1):
        head = Head(features.shape[1])
        fit_head(head, features, labels, weights / weights.sum(), L2)
        weight, bias = (t.detach().numpy().astype(np.float64) for t in head.folded())
        losses = np.logaddexp(0, (1 - 2 * labels) * (features @ weight + bias))
        mean = np.bincount(groups, weights * losses) / np.bincount(groups, weights)
        if step < balance.rounds:
            weights = raised(weights, mean[groups], labels)
    found = [Group(str(names[i]), float(mean[i])) for i in np.argsort(-mean)]
    return weight, float(bias), found


def raised(weights: Floats, losses: Floats, labels: NDArray[np.int64]) -> Floats:
    """Weights (n,) after one round, of the same sum in each class; losses (n,) are the groups'."""
    found: Floats = weights * np.exp(RATE * losses)
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
    base: Floats | None = None
    worst: list[Group] = []
    print("| weighing | three squares: all | unseen | gain, all |\n|---|---|---|---|")
    for balance in ROWS:
        weight, bias, groups = learn(train, balance)
        logits = np.mean([s.read(LEVELS) @ weight + bias for s in squares], axis=0)
        cells = [judge(logits, unseen=False), judge(logits, unseen=True)]
        cells.append("" if base is None else judge.gain(logits, base))
        base, worst = (logits, groups) if base is None else (base, worst)
        print(f"| {balance.name} | {' | '.join(cells)} |", flush=True)
    print("\nFitted worst by the first, mean loss:")
    print("; ".join(f"{group.name} {group.loss:.2f}" for group in worst[:WORST]))


if __name__ == "__main__":
    main()
