"""Compare probes that learn from pairs of several decoders; prints Markdown.

    python scripts/experiments/compare_decoders.py FEATURES

FEATURES comes from `recipe_features.py` on what `decoder_pairs.py` wrote. Rows and columns are as
in compare_recipes.py, all sources learnt from, and `gain` is over the round trips alone on the same
resamples. A pair that has several fakes weighs more than one that has one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from compare_recipes import SQUARES, Floats, Judge, Recipe, fit, stored

BASE = ("train-crop", "train-d0", "pairs-real-d0")


def recipes(kinds: list[str]) -> Iterator[Recipe]:
    """Rows of the table; the second is what the others are compared with."""
    yield Recipe("no pairs", BASE[:2])
    trips = (*BASE, "pairs-round-trip-d0")
    yield Recipe("round trips", trips)
    for kind in kinds:
        yield Recipe(f"{kind} alone", (*BASE, f"pairs-{kind}-d0"))
        yield Recipe(f"round trips and {kind}", (*trips, f"pairs-{kind}-d0"))
    yield Recipe("round trips and all of these", (*trips, *(f"pairs-{k}-d0" for k in kinds)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    folder: Path = parser.parse_args().features
    known = {"real", "round-trip"}
    found = {p.stem.removeprefix("pairs-").removesuffix("-d0") for p in folder.glob("pairs-*-d0.*")}
    squares = [stored(folder, [f"dev-{name}"]) for name in SQUARES]
    judge = Judge(squares[0].samples)
    rows: list[tuple[str, Floats]] = []
    for recipe in recipes(sorted(found - known)):
        train = stored(folder, recipe.views)
        weight, bias = fit(train, recipe, list(range(len(train.samples))))
        looks = [s.read(recipe.levels) @ weight + bias for s in squares]
        rows.append((recipe.name, np.mean(looks, axis=0)))
    print("| learnt from | three squares: all | unseen | gain, all |\n|---|---|---|---|")
    base = rows[1][1]
    for name, logits in rows:
        cells = [judge(logits, unseen=False), judge(logits, unseen=True)]
        cells.append("" if logits is base else judge.gain(logits, base))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
