"""Compare linear probes on the features that `level_features.py` stored; prints Markdown.

    python scripts/experiments/compare_probes.py FEATURES --validation-source GLOB...

Every row is fitted on the same draws with the same weights and regularisation, except those that
say otherwise. The threshold is the smallest with at most 2 % false positives on the validation
sources; figures are means over the sources of fakes in the development images, each against the
reals that `pairing.toml` gives it, with 95 % intervals.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakescan.config import load
from fakescan.data.samples import Sample
from fakescan.evaluate.benchmark import Benchmark, ScoreTable, evaluate_by_source
from fakescan.evaluate.intervals import Estimate
from fakescan.evaluate.metrics import roc_auc
from fakescan.evaluate.pairing import Pairing
from fakescan.model.head import Head
from fakescan.records import Band
from fakescan.train.probe import fit_head
from fakescan.train.sampling import image_weights, stratify

SOURCE_CAP = 60
PAIR_WEIGHT = 0.5
MAX_FALSE_POSITIVES = 0.02
PAIRING = Path(__file__).with_name("pairing.toml")


class View(NamedTuple):
    """One stored view of some samples."""

    samples: list[Sample]
    levels: NDArray[np.float16]
    final: NDArray[np.float32]

    def features(self, levels: tuple[int, ...]) -> NDArray[np.float32]:
        """What a head on these levels reads, (n, F); no levels: the projected embedding."""
        if not levels:
            return self.final
        chosen = self.levels[:, [k - 1 for k in levels]]  # (n, L, 2 D)
        return chosen.reshape(len(chosen), -1).astype(np.float32)


def load_views(folder: Path, *names: str) -> View:
    """Several stored views, one after another."""
    samples: list[Sample] = []
    levels, final = [], []
    for name in names:
        with np.load(folder / f"{name}.npz") as stored:
            columns = {key: stored[key] for key in ("label", "source", "key", "pair")}
            levels.append(stored["levels"])
            final.append(stored["final"])
        for label, source, key, pair in zip(*columns.values(), strict=True):
            samples.append(
                Sample(path=Path(key), key=key, label=int(label), source=source, pair=str(pair))
            )
    return View(samples, np.concatenate(levels), np.concatenate(final))


class Fitted(NamedTuple):
    """A probe on the development images, and what validation said of it."""

    logits: NDArray[np.float64]
    threshold: float
    validation_auc: float
    validation_pair_auc: float


def fit(
    train: View, dev: View, levels: tuple[int, ...], l2: float, held_out: NDArray[np.bool_]
) -> Fitted:
    """Fit on what is not held out; threshold and AUC on what is."""
    features = train.features(levels)
    chosen = [int(i) for i in np.nonzero(~held_out)[0]]
    strata = stratify(train.samples, chosen, SOURCE_CAP, PAIR_WEIGHT)
    weights = image_weights(train.samples, strata)[chosen]
    labels = np.array([s.label for s in train.samples])
    head = Head(features.shape[1])
    fit_head(head, features[chosen], labels[chosen], weights, l2)
    weight, bias = (t.detach().numpy().astype(np.float64) for t in head.folded())
    logits = features @ weight + bias
    is_pair = np.array([bool(s.pair) for s in train.samples])
    singles, pairs = held_out & ~is_pair, held_out & is_pair
    reals = np.sort(logits[singles & (labels == 0)])[::-1]
    return Fitted(
        logits=dev.features(levels) @ weight + bias,
        threshold=float(reals[int(MAX_FALSE_POSITIVES * len(reals))]) + 1e-9,
        validation_auc=roc_auc(labels[singles], logits[singles]),
        validation_pair_auc=roc_auc(labels[pairs], logits[pairs]) if pairs.any() else float("nan"),
    )


def benchmark(dev: View, fitted: Fitted) -> Benchmark:
    """Figures by source; the threshold is applied to logits through an even calibration."""
    table = ScoreTable(tuple(dev.samples), fitted.logits - fitted.threshold)
    return evaluate_by_source(table, load(Pairing, PAIRING), band=Band())


def percent(estimate: Estimate) -> str:
    """Such as 91.9 [90.5, 93.6]."""
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} [{low:.1f}, {high:.1f}]"


def row(name: str, fitted: Fitted, found: Benchmark, l2: float) -> str:
    """One line of the table."""
    reals = sum(r.called_fake.value * r.reals for r in found.reals) / sum(
        r.reals for r in found.reals
    )
    return (
        f"| {name} | {l2:g} | {100 * fitted.validation_auc:.1f} / "
        f"{100 * fitted.validation_pair_auc:.1f} | {percent(found.mean.auc)} | "
        f"{percent(found.mean.ap)} | {100 * reals:.1f} | {100 * found.mean.fake_acc.value:.0f} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("--validation-source", action="append", default=[])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--l2", type=float, nargs="+", default=[0.1])
    args = parser.parse_args()
    folder: Path = args.features
    draws = [f"{part}-d{d}" for d in range(args.draws) for part in ("train", "pairs")]
    with_pairs = load_views(folder, *draws)
    without = load_views(folder, *(name for name in draws if name.startswith("train")))
    dev = load_views(folder, "dev-crop")
    print("| read after block | l2 | validation AUC images / pairs | dev AUC | AP at 1:1 |", end="")
    print(" reals called fake, % | fakes found, % |\n|---|---|---|---|---|---|---|")
    choices: list[tuple[int, ...]] = [
        (), (4,), (6,), (8,), (10,), (4, 6), (6, 8), (4, 6, 8), (2, 4, 6, 8), (4, 6, 8, 10),
    ]  # fmt: skip
    for levels in choices:
        for view, note in ((without, "no pairs"), (with_pairs, "pairs")):
            held_out = np.array(
                [
                    any(fnmatchcase(s.source, g) for g in args.validation_source)
                    for s in view.samples
                ]
            )
            for l2 in args.l2:
                fitted = fit(view, dev, levels, l2, held_out)
                name = " + ".join(map(str, levels)) or "final embedding"
                print(row(f"{name}, {note}", fitted, benchmark(dev, fitted), l2), flush=True)


if __name__ == "__main__":
    main()
