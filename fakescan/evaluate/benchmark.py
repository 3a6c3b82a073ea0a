"""Figures of every row: some fakes against the reals that they are fairly compared with.

Which those are is `fakescan.evaluate.pairing`'s business. AUC is the main figure. AP, accuracy,
ECE and the share of uncertain images are stated as if there were as many reals as fakes;
`ap_unbalanced` is the AP of the images as they are. All rows share one set of resamples, drawn by
group within each source and label (`fakescan.evaluate.drawn`), so that the mean over rows has an
interval too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.errors import DatasetError
from fakescan.evaluate.drawn import Drawn
from fakescan.evaluate.figures import Called, RowScores, ece_of_all, figures_of
from fakescan.evaluate.intervals import RESAMPLES, UNKNOWN, Estimate, bounded
from fakescan.evaluate.metrics import Weights, balanced_accuracy_threshold, weighted_auc
from fakescan.evaluate.pairing import Comparison, Pairing, compare
from fakescan.records import Band, Calibration


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The logits of all samples that could be read."""

    samples: tuple[Sample, ...]
    logits: NDArray[np.float64]
    """(N,), in the order of `samples`; of somebody else's detector, whatever ranks them."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """Key and reason of every sample that could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a detector gives on some fakes against some reals; unknown ones are NaN."""

    auc: Estimate
    ap: Estimate
    """At as many reals as fakes."""
    ap_unbalanced: Estimate
    """With the classes as they are."""
    acc: Estimate
    """Mean of `fake_acc` and `real_acc`."""
    real_acc: Estimate
    """Share of reals not called fake."""
    fake_acc: Estimate
    """Share of fakes found: called fake."""
    tpr_at_1: Estimate
    """Share of fakes found by a threshold that calls at most 1 % of these reals fake."""
    tpr_at_5: Estimate
    """The same with 5 %."""
    ece: Estimate
    """Expected calibration error, at as many reals as fakes."""
    uncertain: Estimate
    """Mean over the classes of the share between the thresholds."""
    oracle_acc: Estimate
    """Mean of real and fake accuracy at the threshold that is best on these very images."""


FIGURES = tuple(field.name for field in fields(Figures))


@dataclass(frozen=True, slots=True)
class Row:
    """One source of fakes, one generator, or the mean of a family."""

    source: str
    fakes: int
    reals: int
    figures: Figures
    family: str = ""
    oracle_threshold: float = math.nan
    """Score at which accuracy on these very images is best; NaN for means."""


@dataclass(frozen=True, slots=True)
class RealRow:
    """One source of reals."""

    source: str
    reals: int
    called_fake: Estimate


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All rows, their mean, and what could not be read."""

    rows: tuple[Row, ...]
    mean: Figures
    """Over rows, each counting once."""
    reals: tuple[RealRow, ...]
    unreadable: tuple[tuple[str, str], ...]
    families: tuple[Row, ...] = ()
    """Means over the rows of each family."""
    met: int = 0
    """Reals that any row met."""
    ece: Estimate = UNKNOWN
    """Expected calibration error over all images, at as many reals as fakes; that of a row with
    few images is biased upwards."""


def evaluate_by_source(
    table: ScoreTable,
    pairing: Pairing,
    *,
    calibration: Calibration | None = None,
    band: Band | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Benchmark:
    """Figures of every source of fakes, with 95 % intervals.

    Args:
        table: reals and fakes.
        pairing: what is compared with what.
        calibration: from logit to score.
        band: called fake at `score >= band.t_fake`.
        resamples: how many.
        seed: of the resamples.

    Raises:
        DatasetError: no fakes, or fakes without a real to compare them with.
    """
    if not any(s.label for s in table.samples):
        raise DatasetError("no fake image could be read, so that there is nothing to compare")
    called = Called.by_band(table.logits, calibration or Calibration(), band or Band())
    drawn = Drawn.draw(table.samples, resamples, seed)
    return evaluate_rows(table, compare(table.samples, pairing=pairing), called, drawn)


def evaluate_rows(
    table: ScoreTable, comparisons: Sequence[Comparison], called: Called, drawn: Drawn
) -> Benchmark:
    """Figures of every comparison, with 95 % intervals.

    Args:
        table: what was scored of the comparisons' samples; a comparison of which no fake or no
            real is there gets no row.
        comparisons: what meets what.
        called: verdicts and probabilities of the table's images.
        drawn: resamples of the table's images.

    Raises:
        DatasetError: no comparison has both fakes and reals in the table.
    """
    chosen = [(c, places) for c in comparisons if (places := places_of(table, c)) is not None]
    if not chosen:
        raise DatasetError("no fake image and none to compare it with could be read")
    scores = RowScores(np.array([s.label for s in table.samples]), table.logits, called, drawn)
    values = [figures_of(scores, places) for _, places in chosen]
    rows = tuple(
        _row(scores, comparison, places, figures)
        for (comparison, places), figures in zip(chosen, values, strict=True)
    )
    return Benchmark(
        rows,
        _mean(values),
        _real_rows(table, scores),
        table.unreadable,
        _families(rows, values, [places for _, places in chosen]),
        len(np.unique(np.concatenate([p for _, p in chosen]))) - sum(row.fakes for row in rows),
        _bounded(ece_of_all(scores)),
    )


def difference_of_means(
    table: ScoreTable, other: ScoreTable, comparisons: Sequence[Comparison], drawn: Drawn
) -> Estimate:
    """How much higher `table`'s mean AUC over rows is than `other`'s, on the same resamples.

    Args:
        table: of one detector.
        other: of another one, with the same samples in the same order.
        comparisons: what meets what.
        drawn: resamples of the tables' images.
    """
    labels = np.array([s.label for s in table.samples])
    rows = [places for c in comparisons if (places := places_of(table, c)) is not None]
    moved = []
    for block in range(drawn.blocks):
        gains = []
        for places in rows:
            weights = drawn.weights(block, places)
            own, theirs = (
                weighted_auc(labels[places], t.logits[places], weights) for t in (table, other)
            )
            gains.append(own - theirs)
        moved.append(np.mean(gains, axis=0))
    return _bounded(np.concatenate(moved))


def places_of(table: ScoreTable, comparison: Comparison) -> NDArray[np.int_] | None:
    """Where a comparison's images are in the table, (n,); None if a class is not there at all."""
    wanted = {s.key for s in (*comparison.fakes, *comparison.reals)}
    places = [i for i, s in enumerate(table.samples) if s.key in wanted]
    if len({table.samples[i].label for i in places}) < 2:
        return None
    return np.array(places)


def _row(
    scores: RowScores,
    comparison: Comparison,
    places: NDArray[np.int_],
    values: Mapping[str, Weights],
) -> Row:
    labels = scores.labels[places]
    fakes = int(labels.sum())
    return Row(
        comparison.name,
        fakes,
        len(places) - fakes,
        _bound(values),
        comparison.family,
        balanced_accuracy_threshold(labels, scores.called.scores[places]),
    )


def _families(
    rows: Sequence[Row],
    values: Sequence[Mapping[str, Weights]],
    places: Sequence[NDArray[np.int_]],
) -> tuple[Row, ...]:
    found = []
    for family in sorted({row.family for row in rows}):
        own = [i for i, row in enumerate(rows) if row.family == family]
        images = len(np.unique(np.concatenate([places[i] for i in own])))
        fakes = sum(rows[i].fakes for i in own)
        mean = _mean([values[i] for i in own])
        found.append(Row(family, fakes, images - fakes, mean, family))
    return tuple(found)


def _real_rows(table: ScoreTable, scores: RowScores) -> tuple[RealRow, ...]:
    places: dict[str, list[int]] = {}
    for i, sample in enumerate(table.samples):
        if not sample.label:
            places.setdefault(sample.source, []).append(i)
    rows = []
    for source in sorted(places):
        called = UNKNOWN
        if scores.called.is_fake is not None:
            called = _bounded(scores.share(scores.called.is_fake, np.array(places[source])))
        rows.append(RealRow(source, len(places[source]), called))
    return tuple(rows)


def _mean(values: Sequence[Mapping[str, Weights]]) -> Figures:
    return _bound({name: np.mean([v[name] for v in values], axis=0) for name in values[0]})


def _bounded(values: Weights | None) -> Estimate:
    """The even weighting's value with the percentiles of the others."""
    return UNKNOWN if values is None else bounded(float(values[0]), values[1:])


def _bound(values: Mapping[str, Weights]) -> Figures:
    """The even weighting's figures with the percentiles of the others; NaN for what is missing."""
    return Figures(**{name: _bounded(values.get(name)) for name in FIGURES})
