"""Does learning from degraded views help on degraded images, and what does it cost on clean ones?

    python scripts/experiments/robust_recipes.py DATA PAIRS FEATURES

FEATURES is the folder that `recipe_features.py` filled. Adds one .npz a view, and prints Markdown:
linear probes by what they learnt from, judged on the middle squares of the development images as
they are and degraded.

    dev-CONDITION                       each of `CONDITIONS`
    train-r0, pairs-KIND-r0             the middle square after a random one of `DEGRADATIONS`, the
                                        same for both members of a pair

Each cell: mean AUC over sources of fakes, and the share of reals above the score that 5 % of the
clean reals exceed: what degrading does to the scores of reals, whatever threshold is chosen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
from compare_recipes import Judge, Recipe, fit, stored
from numpy.typing import NDArray

from fakescan.data.augment import generator
from fakescan.data.samples import Sample, read_samples
from fakescan.image import Preprocess, normalise, open_picture, to_rgb, view
from fakescan.perturb import parse

CONDITIONS = {"jpeg50": "jpeg:50", "blur2": "blur:2", "equal256": "equalise:256"}
PREPROCESS = Preprocess()
REALS_ABOVE = 0.05


def degradation(rng: np.random.Generator) -> str:
    """What happens to a picture: nothing, JPEG, blur, or shrinking, one in four each."""
    match int(rng.integers(4)):
        case 1:
            return f"jpeg:{int(rng.integers(30, 97))}"
        case 2:
            return f"blur:{rng.uniform(0.3, 3.0):.2f}"
        case 3:
            return f"equalise:{int(rng.integers(224, 513))}"
    return ""


def squares(
    samples: Sequence[Sample], degrade: Callable[[Sample], str]
) -> Iterator[NDArray[np.uint8]]:
    """Each sample's middle square, (S, S, 3), after what happens to it."""
    for sample in samples:
        image = to_rgb(open_picture(sample.path).image)
        how = degrade(sample)
        yield view(parse(how)(image) if how else image, PREPROCESS)


def write_view(
    path: Path, samples: Sequence[Sample], degrade: Callable[[Sample], str], tower: Path
) -> None:
    """Compute and store the level vectors of one view of some samples, unless they are there."""
    if path.exists():
        return
    start = time.monotonic()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tower, options, providers=["CPUExecutionProvider"])
    found = []
    for square in squares(samples, degrade):
        pixels = normalise(square[np.newaxis], PREPROCESS)
        found.append(session.run(None, {"pixels": pixels})[0][0].astype(np.float16))
    columns = {n: [getattr(s, n) for s in samples] for n in ("label", "source", "key", "pair")}
    np.savez(path, f=np.stack(found), **columns)  # type: ignore[arg-type]
    print(f"{path.name}: {len(samples)} views, {time.monotonic() - start:.0f} s", flush=True)


def at_random(sample: Sample) -> str:
    """The same for both members of a pair."""
    return degradation(generator(0, f"degraded {sample.pair or sample.key}", 0))


def write_views(data: Path, pairs: Path, out: Path) -> None:
    """Everything that is missing."""
    tower = out / "tower.onnx"
    samples = read_samples(data)
    dev = [s for s in samples if s.split == "dev"]
    for name, text in CONDITIONS.items():
        write_view(out / f"dev-{name}.npz", dev, lambda _, how=text: how, tower)  # type: ignore[misc]
    train = [s for s in samples if s.split in ("train", "train2")]
    write_view(out / "train-r0.npz", train, at_random, tower)
    members = [
        replace(s, key=f"{s.generator.removeprefix('autoencoder ') or 'real'} {s.key}")
        for s in read_samples(pairs)
    ]
    for kind in ("real", "round-trip"):
        chosen = [s for s in members if s.key.startswith(f"{kind} ")]
        write_view(out / f"pairs-{kind}-r0.npz", chosen, at_random, tower)


PLAIN = ("train-d0", "pairs-real-d0", "pairs-round-trip-d0")
DEGRADED = ("train-r0", "pairs-real-r0", "pairs-round-trip-r0")
PROCESSED = ("train-p0", "pairs-real-p0", "pairs-round-trip-p0")


def recipes() -> Iterator[Recipe]:
    """Rows of the table."""
    yield Recipe("drawn", PLAIN)
    yield Recipe("drawn, middle (as shipped)", ("train-crop", *PLAIN))
    yield Recipe("drawn, processed", (*PLAIN, *PROCESSED))
    yield Recipe("degraded", DEGRADED)
    yield Recipe("drawn, degraded", (*PLAIN, *DEGRADED))
    yield Recipe("drawn, middle, degraded", ("train-crop", *PLAIN, *DEGRADED))
    yield Recipe("all of these", ("train-crop", *PLAIN, *DEGRADED, *PROCESSED))


def main() -> None:
    """Compute what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "pairs", "features"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    write_views(args.data, args.pairs, args.features)
    conditions = ("crop", *CONDITIONS)
    dev = {name: stored(args.features, [f"dev-{name}"]) for name in conditions}
    judge = Judge(dev["crop"].samples)
    is_real = judge.labels == 0
    print(f"| learnt from | {' | '.join(conditions)} |\n|{'---|' * (len(conditions) + 1)}")
    for recipe in recipes():
        train = stored(args.features, recipe.views)
        weight, bias = fit(train, recipe, list(range(len(train.samples))))
        logits = {n: s.read(recipe.levels) @ weight + bias for n, s in dev.items()}
        limit = np.quantile(logits["crop"][is_real], 1 - REALS_ABOVE)
        cells = [
            f"{judge(found, unseen=False)}, {(found[is_real] > limit).mean():.0%}"
            for found in logits.values()
        ]
        print(f"| {recipe.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
