"""What the paper's tables order, and whether the same order shows here.

Every ordering is a pair of rows, the one that the paper prints the higher average for first. It
holds here when the whole 95 % interval of the difference lies above 0, does not when it lies
below, and cannot be told otherwise. Both rows are drawn again together: the same images, and the
same seeds, since the rows of one seed share its order of images.

Source: tables 4 to 6 of "Mixture of Low-rank Experts for Transferable AI-Generated Image
Detection", arXiv 2404.04883, as CSV files in `docs/reference/paper-tables/`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
from dev_scores import Figures
from numpy.typing import NDArray

from fakescan.evaluate.intervals import Estimate, bounded

PAPER = Path(__file__).parents[2] / "docs" / "reference" / "paper-tables"
AVERAGE = "average_mAP"
HOLDS, FAILS, OPEN = "holds", "does not", "cannot be told"

Seeds = Mapping[int, Figures]
"""One row's figures by seed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The paper prints more for one row than for another."""

    better: str
    worse: str
    printed: tuple[tuple[str, float], ...]
    """Backbone, and by how many points of average mAP; nothing where it has no table."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """A claim and what was found here."""

    claim: Claim
    ap: Estimate | None
    """Difference of mean AP at 1:1; None where a row was not run."""
    auc: Estimate | None
    seeds: int
    """That both rows were trained with."""

    @property
    def verdict(self) -> str:
        """In words."""
        if self.ap is None:
            return "not run"
        if self.ap.low > 0:
            return HOLDS
        return FAILS if self.ap.high < 0 else OPEN


def claims(table: str, names: Sequence[str] = (), folder: Path = PAPER) -> list[Claim]:
    """The orderings of one of our tables that the paper prints.

    Table 4: neighbours in depth, and the last 3 blocks against all other rows. Table 5: all pairs.
    Table 6: the best row against all others, and rows that differ in one thing. More training
    images are better in a figure, for which there is no table.

    Args:
        table: its name.
        names: its rows; only those on data size are not the paper's.
        folder: where the paper's tables lie.
    """
    if table == "adapted-blocks":
        return _merged(
            claim for name, rows in _blocks(folder).items() for claim in _depths(name, rows)
        )
    if table == "adapter-design":
        rows = _column(folder / "table5_adapter_design.csv", "variant")
        return [_claim("ViT-B/32", rows, a, b) for a, b in combinations(rows, 2)]
    if table == "ranks":
        rows = _ranks(folder)
        best = max(rows, key=rows.__getitem__)
        against = [(best, other) for other in rows if other != best]
        return [_claim("ViT-B/32", rows, a, b) for a, b in (*against, *ALIKE)]
    return [Claim(more, less, ()) for less, more in pairwise(names)]


ALIKE = (
    ("8|8;8;8", "8|4;4;4"),
    ("8|8;8;8", "8|8;8;8;8"),
    ("8|4;8;16;32", "8|8;8;8;8"),
)
"""Rows of table 6 that differ in the separate ranks' size, number, or variety alone."""


def judge(claim: Claim, rows: Mapping[str, Seeds]) -> Ordering:
    """Both rows' difference here, over the seeds that both have."""
    first, second = rows.get(claim.better, {}), rows.get(claim.worse, {})
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return Ordering(claim, None, None, 0)
    return Ordering(
        claim, difference(first, second, "ap"), difference(first, second, "auc"), len(seeds)
    )


def difference(first: Seeds, second: Seeds, figure: str) -> Estimate:
    """How much higher a figure is in the first row, over images and common seeds."""
    seeds = sorted(first.keys() & second.keys())
    return over_seeds([first[s][figure] - second[s][figure] for s in seeds])


def over_seeds(values: Sequence[NDArray[np.float64]]) -> Estimate:
    """Mean over seeds, its interval over images and seeds.

    Args:
        values: of every seed, (1 + resamples,), the data itself first. Every resample of the
            images draws the seeds again, too; of few seeds that spreads less than they do.
    """
    table = np.stack(values)  # (seeds, 1 + resamples)
    count, resamples = len(table), table.shape[1] - 1
    drawn = np.random.default_rng(0).integers(0, count, (count, resamples))
    moved = table[drawn, np.arange(1, resamples + 1)].mean(axis=0)
    return bounded(float(table[:, 0].mean()), moved)


def _blocks(folder: Path) -> dict[str, dict[str, float]]:
    """Average mAP of table 4, by backbone and by our name of the row."""
    found: dict[str, dict[str, float]] = {}
    for row in _read(folder / "table4_adapted_blocks.csv"):
        name = row["adapted_blocks"]
        ours = "none" if name.startswith("none") else "all" if name.startswith("all") else name
        found.setdefault(row["backbone"], {})[ours] = float(row[AVERAGE])
    return found


def _depths(backbone: str, rows: Mapping[str, float]) -> list[Claim]:
    others = [("last3", other) for other in rows if other != "last3"]
    pairs = dict.fromkeys(tuple(sorted(pair)) for pair in (*pairwise(rows), *others))
    return [_claim(backbone, rows, a, b) for a, b in pairs]


def _ranks(folder: Path) -> dict[str, float]:
    rows = _read(folder / "table6_ranks.csv")
    return {f"{row['shared_rank']}|{row['separate_ranks']}": float(row[AVERAGE]) for row in rows}


def _claim(backbone: str, rows: Mapping[str, float], a: str, b: str) -> Claim:
    better, worse = (a, b) if rows[a] >= rows[b] else (b, a)
    return Claim(better, worse, ((backbone, round(rows[better] - rows[worse], 2)),))


def _merged(claims: Iterable[Claim]) -> list[Claim]:
    """The same claim of several backbones as one."""
    found: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        key = claim.better, claim.worse
        known = found.get(key)
        printed = (*(known.printed if known else ()), *claim.printed)
        found[key] = Claim(*key, printed)
    return list(found.values())


def _column(path: Path, name: str) -> dict[str, float]:
    return {row[name]: float(row[AVERAGE]) for row in _read(path)}


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
