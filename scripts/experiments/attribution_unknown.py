"""What becomes of generators that are not known: called real, unknown, or by a wrong name?

    python scripts/experiments/attribution_unknown.py TREE --backbone-weights FILE --cache FILE.npz

Each task in turn is left out; the others are learnt at once from frozen levels 6 and 8, with a
fifth held out for temperature and threshold, as `learn` does. Its fakes are then unknown ones.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from attribution_levels import L2, LEVELS, ORDERS, WIDTH, Images, features
from numpy.typing import NDArray

from fakescan.attribute.answer import ClassRecord, Rules, probabilities, read
from fakescan.attribute.fitted import temperature, unknown_below
from fakescan.attribute.scenario import TaskImages, read_folders
from fakescan.attribute.softmax import fit
from fakescan.data.samples import Sample, rank

HELD_OUT = 0.2
READ = (6, 8)


def held(samples: list[Sample], images: Images) -> NDArray[np.bool_]:
    """A fifth of each class's training images, by a hash."""
    found = np.zeros(len(samples), dtype=bool)
    for label in range(len(images.real)):
        own = np.flatnonzero(~images.is_test & (images.labels == label)).tolist()
        ranked = sorted(own, key=lambda i: rank(samples[i].key, 0))
        found[ranked[: round(HELD_OUT * len(ranked))]] = True
    return found


def left_out(
    x: NDArray[np.float32], images: Images, is_held: NDArray[np.bool_], task: int, rate: float
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """What is said of unknown fakes, of known fakes and of known reals that are judged by."""
    classes = np.flatnonzero(images.of_class != task)
    new = {int(label): i for i, label in enumerate(classes)}
    is_known = images.task != task
    train = is_known & ~images.is_test
    labels = np.array([new.get(int(label), -1) for label in images.labels])
    real = images.real[classes]
    judge = fit(x[train & ~is_held], labels[train & ~is_held], len(classes), L2)
    logits, truth = judge.logits(x[train & is_held]), labels[train & is_held]
    heat = temperature(logits, truth)
    rules = Rules(
        temperature=heat,
        unknown_below=unknown_below(probabilities(logits, heat), truth, real, rate),
    )
    linear = fit(x[train], labels[train], len(classes), L2)
    records = [
        ClassRecord(task="", kind="real" if r else "fake", name=str(i), images=0)
        for i, r in enumerate(real)
    ]
    is_fake = ~images.real[images.labels]
    groups = (images.is_test & ~is_known & is_fake, images.is_test & is_known & is_fake)
    counts = []
    for group in (*groups, images.is_test & is_known & ~is_fake):
        said = read(linear.logits(x[group]), records, rules)
        named = [s.generator or "real" for s in said]
        right = [str(label) for label in labels[group]]
        counts.append(
            Counter(
                n if n in ("real", "unknown") else "right" if n == r else "wrong"
                for n, r in zip(named, right, strict=True)
            )
        )
    return counts[0], counts[1], counts[2]


def main() -> int:
    """Print shares for each task left out, and together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--backbone-weights", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--false-unknown", type=float, default=0.05)
    options = parser.parse_args()
    tasks: list[TaskImages] = read_folders(options.tree, 0.3, 0)
    samples = [s for task in tasks for part in (task.train, task.test) for s, _ in part]
    everything = features(samples, options.backbone_weights, options.cache)
    at = [LEVELS.index(k) for k in READ]
    x = np.concatenate([everything[:, WIDTH * i : WIDTH * (i + 1)] for i in at], axis=1)
    images = Images(tasks, ORDERS[0])
    is_held = held(samples, images)
    total = (Counter[str](), Counter[str](), Counter[str]())
    for task, name in enumerate(ORDERS[0]):
        counts = left_out(x, images, is_held, task, options.false_unknown)
        for sums, count in zip(total, counts, strict=True):
            sums += count
        print(f"{name:<10} left out: {_shares(counts[0])}")
    for name, count in zip(("unknown fakes", "known fakes", "known reals"), total, strict=True):
        print(f"all, {name:<13} ({count.total()}): {_shares(count)}")
    return 0


def _shares(count: Counter[str]) -> str:
    names = ("right", "unknown", "real", "wrong")
    return ", ".join(f"{name} {count[name] / count.total():.0%}" for name in names if count[name])


if __name__ == "__main__":
    sys.exit(main())
