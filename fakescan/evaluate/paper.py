"""The figures that the MoLE paper printed, from the CSV files in docs/reference/paper-tables.

Source: "Mixture of Low-rank Experts for Transferable AI-Generated Image Detection", arXiv
2404.04883, tables 1 to 6.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fakescan.errors import ConfigError

BACKBONES = {"ViT-B-32": "MoLE_ViT-B/32", "ViT-B-16": "MoLE_ViT-B/16", "ViT-L-14": "MoLE_ViT-L/14"}
"""How a backbone's name begins -> the row of the paper's own detector on it."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One printed table with a column per generator; fractions in [0, 1]."""

    generators: tuple[str, ...]
    """Column names, in print order."""
    figures: Mapping[str, tuple[float, ...]]
    """Row name -> one figure per generator."""
    means: Mapping[str, float]
    """Row name -> the mean as printed, which misprints may set apart from the figures."""

    def row(self, name: str) -> dict[str, float]:
        """Generator -> figure of one row.

        Raises:
            ConfigError: there is no such row.
        """
        if name not in self.figures:
            raise ConfigError(f"--paper-row {name}: no such row; known: {', '.join(self.figures)}")
        return dict(zip(self.generators, self.figures[name], strict=True))


def read_rows(name: str) -> list[dict[str, str]]:
    """A table as it was printed: its rows by column name.

    Args:
        name: of the file, without `.csv`.
    """
    with (_folder() / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_table(name: str) -> PaperTable:
    """One of the tables 1 to 3: method, a column per generator, their mean.

    Args:
        name: of the file, without `.csv`.
    """
    figures: dict[str, tuple[float, ...]] = {}
    means: dict[str, float] = {}
    generators: tuple[str, ...] = ()
    for row in read_rows(name):
        method, *cells, mean = row.values()
        generators = tuple(row)[1:-1]
        figures[method] = tuple(float(cell) / 100 for cell in cells)
        means[method] = float(mean) / 100
    return PaperTable(generators, figures, means)


def row_of_backbone(backbone: str) -> str:
    """The row of the paper's detector on a backbone.

    Args:
        backbone: a name of open_clip's, such as ViT-B-16-quickgelu.

    Raises:
        ConfigError: the paper has none on it.
    """
    for start, row in BACKBONES.items():
        if backbone.startswith(start):
            return row
    raise ConfigError(
        f"--paper-row: the paper has no detector on the backbone {backbone}; "
        f"name the row to compare with, such as {', '.join(BACKBONES.values())}"
    )


def _folder() -> Path:
    package = Path(__file__).parents[1]
    inside = package / "_paper_tables"  # in an installed wheel
    return inside if inside.is_dir() else package.parent / "docs" / "reference" / "paper-tables"
