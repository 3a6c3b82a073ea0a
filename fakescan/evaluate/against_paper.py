"""A detector's figures beside the paper's: paper, yours, difference, for each generator.

A generator that is not there is named, never counted as zero, and the mean over those that are
there stands beside the paper's mean over the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fakescan.evaluate.benchmark import Benchmark
from fakescan.evaluate.intervals import Estimate
from fakescan.evaluate.paper import PaperTable, read_table
from fakescan.evaluate.protocols import Setup

FIGURE_NAMES = {"ap": "AP", "acc": "accuracy"}


@dataclass(frozen=True, slots=True)
class Line:
    """One generator, or the mean over those that are there; fractions."""

    generator: str
    fakes: int
    reals: int
    paper: float
    yours: Estimate

    @property
    def difference(self) -> float:
        """Yours minus the paper's."""
        return self.yours.value - self.paper


@dataclass(frozen=True, kw_only=True, slots=True)
class AgainstPaper:
    """One figure of one table of the paper."""

    figure: str
    """As `Figures` calls it."""
    table: str
    """File name, without `.csv`."""
    paper_row: str
    """Method whose figures are compared with."""
    lines: tuple[Line, ...]
    """Generators that are there, in the table's order."""
    mean: Line
    """Over these generators, theirs and yours."""
    printed_mean: float
    """The paper's, over all its generators."""
    generators: int
    """That the paper has."""
    missing: Mapping[str, str]
    """Generator -> why it is not there."""


def against_paper(benchmark: Benchmark, setup: Setup, paper_row: str) -> tuple[AgainstPaper, ...]:
    """A comparison for each of the protocol's tables; none for figures that are not known.

    Args:
        benchmark: of the setup's comparisons.
        setup: the protocol, and what is missing of it.
        paper_row: the table's row to compare with.

    Raises:
        ConfigError: the tables have no such row.
    """
    tables = {figure: read_table(name) for figure, name in setup.protocol.tables.items()}
    return tuple(
        _against(benchmark, setup, figure, table, paper_row)
        for figure, table in tables.items()
        if getattr(benchmark.mean, figure).is_known
    )


def _against(
    benchmark: Benchmark, setup: Setup, figure: str, table: PaperTable, paper_row: str
) -> AgainstPaper:
    printed = table.row(paper_row)
    rows = {row.source: row for row in benchmark.rows}
    lines = tuple(
        Line(
            name,
            rows[name].fakes,
            rows[name].reals,
            printed[name],
            getattr(rows[name].figures, figure),
        )
        for name in table.generators
        if name in rows
    )
    lost = {
        name: "no image of it could be scored"
        for name in table.generators
        if name not in rows and name not in setup.missing
    }
    mean = Line(
        "mean",
        sum(line.fakes for line in lines),
        sum(line.reals for line in lines),
        sum(line.paper for line in lines) / len(lines),
        getattr(benchmark.mean, figure),
    )
    return AgainstPaper(
        figure=figure,
        table=setup.protocol.tables[figure],
        paper_row=paper_row,
        lines=lines,
        mean=mean,
        printed_mean=table.means[paper_row],
        generators=len(table.generators),
        missing={n: why for n, why in {**setup.missing, **lost}.items() if n in printed},
    )
