"""How far file properties alone separate real from fake: the check beside every figure.

Fits a random forest on the properties of DATA's training images and states the AUC on its
development images by source of fakes: of all properties, without bits per pixel, which smooth
pictures have fewer of whatever made them, and without colour profiles as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from fakescan.config import load
from fakescan.data.properties import BITS_PER_PIXEL, NAMES, properties
from fakescan.data.samples import Sample, read_samples
from fakescan.errors import ImageError
from fakescan.evaluate.benchmark import ScoreTable, evaluate_by_source
from fakescan.evaluate.intervals import Estimate, estimate
from fakescan.evaluate.metrics import weighted_auc
from fakescan.evaluate.pairing import Pairing

TREES = 500
CAP = 60
"""Images that a source counts as at most."""


def main() -> None:
    """Read, fit twice, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with a manifest that has splits")
    parser.add_argument("--train", nargs="+", default=["train"], help="splits to fit on")
    parser.add_argument("--test", nargs="+", default=["dev"], help="splits to report")
    parser.add_argument("--pairing", type=Path, default=Path(__file__).with_name("pairing.toml"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairing = load(Pairing, options.pairing)
    train = measure(read_samples(options.data, split=tuple(options.train)))
    test = measure(read_samples(options.data, split=tuple(options.test)))
    for left_out in ((), (BITS_PER_PIXEL,), (BITS_PER_PIXEL, "has_icc")):
        report(fit_and_score(train, test, left_out, options.seed), pairing, left_out)


def measure(samples: Sequence[Sample]) -> tuple[list[Sample], NDArray[np.float64]]:
    """The samples that can be read and their properties, (N, P)."""
    kept, rows = [], []
    for sample in samples:
        try:
            rows.append(properties(sample.path))
        except ImageError as e:
            print(f"{sample.key}: {e}")
        else:
            kept.append(sample)
    return kept, np.stack(rows)


def fit_and_score(
    train: tuple[list[Sample], NDArray[np.float64]],
    test: tuple[list[Sample], NDArray[np.float64]],
    left_out: tuple[str, ...],
    seed: int,
) -> ScoreTable:
    """Probability of fake for every test image, from a forest on the training images."""
    columns = [i for i, name in enumerate(NAMES) if name not in left_out]
    samples, values = train
    forest = RandomForestClassifier(
        TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed
    )
    labels = np.array([s.label for s in samples])
    forest.fit(values[:, columns], labels, sample_weight=_weights(samples))
    probabilities = forest.predict_proba(test[1][:, columns])[:, 1]
    return ScoreTable(tuple(test[0]), probabilities)


def report(table: ScoreTable, pairing: Pairing, left_out: tuple[str, ...]) -> None:
    """Print the AUC of every source, their mean, and of all images together."""
    print(f"\nwithout {', '.join(left_out)}" if left_out else "\nall properties")
    benchmark = evaluate_by_source(table, pairing)
    for row in benchmark.rows:
        _print(row.source, row.fakes, row.reals, row.figures.auc)
    _print("mean of sources", 0, 0, benchmark.mean.auc)
    labels = np.array([s.label for s in table.samples])
    overall = estimate(labels, table.logits, weighted_auc)
    _print("all images", int(labels.sum()), int((1 - labels).sum()), overall)


def _print(name: str, fakes: int, reals: int, auc: Estimate) -> None:
    counts = f"{fakes:5} {reals:5}" if fakes else " " * 11
    print(f"{name:28} {counts}  {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]")


def _weights(samples: Sequence[Sample]) -> NDArray[np.float64]:
    names = np.array([f"{s.label} {s.source}" for s in samples])
    _, place, sizes = np.unique(names, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = np.minimum(sizes, CAP)[place] / sizes[place]
    return weights


if __name__ == "__main__":
    main()
