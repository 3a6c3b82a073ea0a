"""What frozen features attribute best: vectors after which blocks, or the final embedding?

    python scripts/experiments/attribution_levels.py TREE --backbone-weights FILE --cache FILE.npz

TREE is one of those that attribution_tree.py makes. For each set of features: the regression on all
images at once, and regression and nearest mean learnt task by task with a memory, over the orders
of the report. Features are computed once and kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.attribute.herding import herd, quota
from fakescan.attribute.metrics import Sequential, multi_real_accuracy
from fakescan.attribute.scenario import TaskImages, read_folders
from fakescan.attribute.softmax import Linear, fit, grow
from fakescan.data.samples import Sample
from fakescan.image import Preprocess, normalise, open_picture, view
from fakescan.model.backbone import BackboneConfig, load_backbone
from fakescan.model.head import level_vector

LEVELS = (2, 4, 6, 8, 10, 12)
WIDTH = 1536
"""Of a level's vector."""
SETS = {
    "4": (4,),
    "6": (6,),
    "8": (8,),
    "4 + 6 + 8": (4, 6, 8),
    "6 + 8": (6, 8),
    "10": (10,),
    "12": (12,),
    "final embedding": (),
}
ORDERS = (
    ("sd1", "dallemini", "dit", "ldm", "sd2", "cogview", "gan", "closed"),
    ("gan", "dit", "sd2", "closed", "dallemini", "cogview", "ldm", "sd1"),
    ("closed", "ldm", "cogview", "sd1", "gan", "dallemini", "sd2", "dit"),
)
L2 = 1e-2
"""As `learn` fits its classifier."""


def features(samples: list[Sample], weights: Path, cache: Path) -> NDArray[np.float32]:
    """(N, F): all levels, then the final embedding; kept by the images' keys."""
    known: dict[str, NDArray[np.float32]] = {}
    if cache.exists():
        with np.load(cache) as stored:
            known = dict(zip(stored["keys"].tolist(), stored["features"], strict=True))
    missing = [s for s in samples if s.key not in known]
    if missing:
        config = BackboneConfig(name="ViT-B-16-quickgelu", weights=weights)
        tower, preprocess = load_backbone(config).tower, Preprocess()
        for sample in missing:
            crop = view(open_picture(sample.path).image, preprocess)
            pixels = torch.from_numpy(normalise(crop[None], preprocess))
            with torch.no_grad():
                tokens, parts = tower.embed(pixels), []
                for number, block in enumerate(tower.blocks, 1):
                    tokens = block(tokens)
                    if number in LEVELS:
                        parts.append(level_vector(tokens))
                parts.append(tower.project(tokens))
            known[sample.key] = torch.cat(parts, -1)[0].numpy()
        np.savez(cache, keys=np.array(list(known)), features=np.stack(list(known.values())))
    return np.stack([known[s.key] for s in samples])


class Images:
    """All images of the tasks in one order."""

    def __init__(self, tasks: list[TaskImages], order: tuple[str, ...]) -> None:
        named = {task.name: task for task in tasks}
        names = [(t, c) for t in order for c in named[t].classes]
        at = {name: i for i, name in enumerate(names)}
        rows = [
            (at[task.name, task.classes[c]], order.index(task.name), is_test)
            for task in tasks
            for is_test, part in ((False, task.train), (True, task.test))
            for _, c in part
        ]
        self.labels, self.task = (np.array([r[i] for r in rows]) for i in (0, 1))
        self.is_test = np.array([r[2] for r in rows], dtype=bool)
        self.real = np.array([c == "real" for _, c in names])
        self.of_class = np.array([order.index(t) for t, _ in names])

    def accuracy(self, task: int, called: NDArray[np.int_]) -> float:
        """Of calls of all images, on one task's."""
        own = self.is_test & (self.task == task)
        return multi_real_accuracy(self.labels[own], called[own], self.real)


def joint(x: NDArray[np.float32], images: Images) -> float:
    """AAF of the regression on everything at once."""
    train = ~images.is_test
    linear = fit(x[train], images.labels[train], len(images.real), L2)
    called = linear.logits(x).argmax(axis=1)
    return float(np.mean([images.accuracy(t, called) for t in range(int(images.task.max()) + 1)]))


def probe(x: NDArray[np.float32], images: Images, memory: int) -> Sequential:
    """Regression task by task, fitted around the old one, with exemplars."""
    tasks = int(images.task.max()) + 1
    found, kept, linear = np.full((tasks, tasks), np.nan), np.empty(0, int), None
    for step in range(tasks):
        classes = int((images.of_class <= step).sum())
        new = np.flatnonzero(~images.is_test & (images.task == step))
        rows = np.concatenate([kept, new])
        around: Linear | None = grow(linear, classes, x.shape[1]) if linear else None
        linear = fit(x[rows], images.labels[rows], classes, L2, around=around)
        called = linear.logits(x).argmax(axis=1)
        for task in range(step + 1):
            found[task, step] = images.accuracy(task, called)
        each, chosen = quota(memory, classes), []
        for label in range(classes):
            own = rows[images.labels[rows] == label]
            is_new = images.of_class[label] == step
            chosen.append(own[herd(x[own], each)] if is_new else own[:each])
        kept = np.concatenate(chosen)
    return Sequential(found)


def nearest(x: NDArray[np.float32], images: Images) -> float:
    """AAF of the nearest mean; the first task sets the standard."""
    first = x[~images.is_test & (images.task == 0)]
    z = (x - first.mean(axis=0)) / (first.std(axis=0) + 1e-6)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    train = ~images.is_test
    means = np.stack(
        [z[train & (images.labels == c)].mean(axis=0) for c in range(len(images.real))]
    )
    called = (z @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(axis=1)
    return float(np.mean([images.accuracy(t, called) for t in range(int(images.task.max()) + 1)]))


def main() -> int:
    """Print a row for each set of features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--backbone-weights", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--memory", type=int, default=240)
    options = parser.parse_args()
    tasks = read_folders(options.tree, 0.3, 0)
    samples = [s for task in tasks for part in (task.train, task.test) for s, _ in part]
    everything = features(samples, options.backbone_weights, options.cache)
    print("features            joint   sequential AAF (BWT)   nearest mean")
    for name, levels in SETS.items():
        parts = [everything[:, WIDTH * i : WIDTH * (i + 1)] for i in map(LEVELS.index, levels)]
        x = np.concatenate(parts or [everything[:, WIDTH * len(LEVELS) :]], axis=1)
        scenes = [Images(tasks, order) for order in ORDERS]
        runs = [probe(x, scene, options.memory) for scene in scenes]
        final, lost = (100 * float(np.mean([getattr(r, n) for r in runs])) for n in NAMES)
        means = 100 * float(np.mean([nearest(x, scene) for scene in scenes]))
        print(
            f"{name:<18}{100 * joint(x, scenes[0]):>7.1f}{final:>12.1f} ({lost:.1f}){means:>17.1f}"
        )
    return 0


NAMES = ("final", "transfer")

if __name__ == "__main__":
    sys.exit(main())
