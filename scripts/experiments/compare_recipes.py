"""Compare what linear probes learn from, on what `recipe_features.py` stored; prints Markdown.

    python scripts/experiments/compare_recipes.py FEATURES

Each row is one probe: on levels 4, 6 and 8 with l2 0.3 unless it says otherwise, learnt from all
sources, and, in the first column, from all but eight that are held out. AUC is the mean over the
sources of fakes in the development images, of all and of those that are unseen (not near to what is
trained on), with the middle square alone and with the mean of three.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from recipe_features import LEVELS

from fakescan.config import load
from fakescan.data.samples import Sample
from fakescan.evaluate.drawn import Drawn
from fakescan.evaluate.intervals import bounded
from fakescan.evaluate.metrics import weighted_auc
from fakescan.evaluate.pairing import Pairing, compare
from fakescan.model.head import Head
from fakescan.train.probe import fit_head
from fakescan.train.sampling import image_weights, stratify

SOURCE_CAP, PAIR_WEIGHT, L2 = 60, 0.5, 0.3
WIDTH = 768
NEAR = ("drawbench-sd21", "dcsan-sd", "visor-sd-cdm")
"""Of generators close to those that are trained on."""
HELD_OUT = (
    "hunyuandit", "mj-dagny", "dcsan-dallemini", "sd35l-*",
    "real-deepin", "real-mei-cameras", "real-bsds500",
)  # fmt: skip
PAIRING = Path(__file__).with_name("pairing.toml")
SQUARES = ("crop", "corner0", "corner1")
"""Of a development image, as a scan looks at it."""
PLAIN = ("train-d0", "pairs-real-d0", "pairs-round-trip-d0")

Floats = NDArray[np.float64]


class Stored(NamedTuple):
    """Some samples and their level vectors."""

    samples: list[Sample]
    features: NDArray[np.float16]  # (n, 7 * 2 D)

    def read(self, levels: Sequence[int]) -> NDArray[np.float32]:
        """What a head on these levels reads, (n, F)."""
        step = 2 * WIDTH
        parts = [self.features[:, (i := LEVELS.index(k) * step) : i + step] for k in levels]
        return np.concatenate(parts, axis=1).astype(np.float32)


class Recipe(NamedTuple):
    """What one probe learns from."""

    name: str
    views: Sequence[str]
    levels: Sequence[int] = (4, 6, 8)
    l2: float = L2
    pair_weight: float = PAIR_WEIGHT


def recipes() -> Iterator[Recipe]:
    """All rows of the table."""
    d0, reals, _ = PLAIN
    yield Recipe("generated images alone", (d0,))
    yield Recipe("and round trips", PLAIN)
    for kind in ("masked", "upsampling"):
        yield Recipe(f"and pairs: {kind}", (d0, reals, f"pairs-{kind}-d0"))
    for kind in ("masked", "upsampling"):
        yield Recipe(f"and round trips and {kind}", (*PLAIN, f"pairs-{kind}-d0"))
    yield Recipe("round trips, processed", ("train-p0", "pairs-real-p0", "pairs-round-trip-p0"))
    yield Recipe("round trips and middle squares", ("train-crop", *PLAIN))
    for levels in ((4, 6), (2, 4, 6, 8), (3, 5, 7), (6, 8), LEVELS):
        name = " + ".join(map(str, levels))
        yield Recipe(f"the same, levels {name}", ("train-crop", *PLAIN), levels)
    for l2 in (0.03, 0.1, 1.0):
        yield Recipe(f"the same, l2 {l2:g}", ("train-crop", *PLAIN), l2=l2)
    for weight in (0.25, 1.0):
        yield Recipe(
            f"the same, pairs weigh {weight:g}", ("train-crop", *PLAIN), pair_weight=weight
        )


def stored(folder: Path, names: Sequence[str]) -> Stored:
    """Several views, one after another."""
    samples: list[Sample] = []
    features = []
    for name in names:
        with np.load(folder / f"{name}.npz") as arrays:
            columns = [arrays[key].tolist() for key in ("key", "label", "source", "pair")]
            features.append(arrays["f"])
        for key, label, source, pair in zip(*columns, strict=True):
            samples.append(Sample(path=Path(key), key=key, label=label, source=source, pair=pair))
    return Stored(samples, np.concatenate(features))


def fit(train: Stored, recipe: Recipe, chosen: list[int]) -> tuple[Floats, float]:
    """Weight (F,) and bias of the probe on some of the samples."""
    weights = image_weights(
        train.samples, stratify(train.samples, chosen, SOURCE_CAP, recipe.pair_weight)
    )[chosen]
    features = train.read(recipe.levels)
    head = Head(features.shape[1])
    labels = np.array([s.label for s in train.samples])
    fit_head(head, features[chosen], labels[chosen], weights / weights.sum(), recipe.l2)
    weight, bias = (t.detach().numpy().astype(np.float64) for t in head.folded())
    return weight, float(bias)


class Judge:
    """The development images: mean AUC of any logits."""

    def __init__(self, samples: list[Sample]) -> None:
        self.labels = np.array([s.label for s in samples])
        drawn = Drawn.draw(samples)
        self.comparisons = compare(samples, pairing=load(Pairing, PAIRING))
        places = {sample.key: i for i, sample in enumerate(samples)}
        self.places = [
            np.array([places[s.key] for s in (*c.fakes, *c.reals)]) for c in self.comparisons
        ]
        self.weights = [
            np.vstack([drawn.weights(block, at) for block in range(drawn.blocks)])
            for at in self.places
        ]  # (1 + S, n) each

    def means(self, logits: Floats, *, unseen: bool = False) -> Floats:
        """The mean AUC, and of every resample, (1 + S,)."""
        found = [
            weighted_auc(self.labels[at], logits[at], weights)
            for comparison, at, weights in zip(
                self.comparisons, self.places, self.weights, strict=True
            )
            if not (unseen and comparison.name in NEAR)
        ]
        mean: Floats = np.mean(found, axis=0)
        return mean

    def __call__(self, logits: Floats, *, unseen: bool) -> str:
        """Such as 94.6 [91.9, 96.7]."""
        return self._written(self.means(logits, unseen=unseen))

    def gain(self, logits: Floats, over: Floats) -> str:
        """Such as 0.4 [-0.1, 0.9], on the same resamples."""
        return self._written(self.means(logits) - self.means(over))

    def _written(self, means: Floats) -> str:
        estimate = bounded(float(means[0]), means[1:])
        value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
        return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    folder: Path = parser.parse_args().features
    squares = [stored(folder, [f"dev-{name}"]) for name in SQUARES]
    texture = stored(folder, ["dev-texture"])
    judge = Judge(squares[0].samples)
    print("| learnt from | eight sources held out: all | all sources: all | unseen |", end="")
    print(" three squares: all | unseen | most texture: all |\n|---|---|---|---|---|---|---|")
    for recipe in recipes():
        train = stored(folder, recipe.views)
        everything = list(range(len(train.samples)))
        kept = [
            i
            for i in everything
            if not any(fnmatchcase(train.samples[i].source, glob) for glob in HELD_OUT)
        ]
        cells = []
        for chosen in (kept, everything):
            weight, bias = fit(train, recipe, chosen)
            logits = [s.read(recipe.levels) @ weight + bias for s in squares]
            cells.append(judge(logits[0], unseen=False))
        mean = np.mean(logits, axis=0)
        cells += [judge(logits[0], unseen=True), judge(mean, unseen=False)]
        cells += [judge(mean, unseen=True)]
        cells += [judge(texture.read(recipe.levels) @ weight + bias, unseen=False)]
        print(f"| {recipe.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
