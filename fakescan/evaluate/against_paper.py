"""A detector's figures beside the paper's: paper, yours, difference, for each generator.

A generator that is not there is named, never counted as zero, and the mean over those that are
there stands beside the paper's mean over the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from fakescan.evaluate.benchmark import Benchmark
from fakescan.evaluate.intervals import Estimate
from fakescan.evaluate.paper import PaperTable, read_table, row_of_backbone
from fakescan.evaluate.protocols import Setup


@dataclass(frozen=True, slots=True)
class Against:
    """A protocol's test set, and the row of the paper's tables that figures stand beside."""

    setup: Setup
    paper_row: str | None = None
    """None: that of the paper's detector on the same backbone."""

    def row_of(self, backbone: str) -> str:
        """The row for a detector on this backbone.

        Raises:
            ConfigError: the tables have no such row, or the paper no such backbone.
        """
        row = self.paper_row or row_of_backbone(backbone)
        for name in self.setup.protocol.tables.values():
            read_table(name).row(row)
        return row


@dataclass(frozen=True, slots=True)
class Line:
    """One generator, or the mean over those that are there; fractions."""

    generator: str
    fakes: int
    reals: int
    """Of the mean: each counted once, although several generators may share it."""
    paper: float
    yours: Estimate

    @property
    def difference(self) -> float:
        """Yours minus the paper's."""
        return self.yours.value - self.paper


@dataclass(frozen=True, slots=True)
class Missing:
    """One generator of the table that has no figures of yours."""

    generator: str
    paper: float


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
    missing: tuple[Missing, ...]
    """Generators that are not there, in the table's order."""


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
    mean = Line(
        "mean",
        sum(line.fakes for line in lines),
        benchmark.met,
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
        missing=tuple(Missing(n, printed[n]) for n in table.generators if n not in rows),
    )
