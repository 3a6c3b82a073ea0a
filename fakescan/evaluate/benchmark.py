"""Figures per source: every source of fakes against the reals that it is fairly compared with.

Which reals those are is data (`Pairing`, read from TOML): thumbnails against thumbnails, shrunk
paintings against their originals. AUC is the main figure; AP and accuracy are stated as if there
were as many reals as fakes. All rows share one set of resamples, drawn within each source and
label, so that the mean over sources has an interval too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.errors import ConfigError, DatasetError, ImageError
from fakescan.evaluate.intervals import RESAMPLES, Estimate, bounded, resample
from fakescan.evaluate.metrics import Weights, weighted_ap_one_to_one, weighted_auc
from fakescan.image import Limits, Preprocess, open_picture, views
from fakescan.records import Band, Calibration, Scorer, mean_logits


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """Which reals a source of fakes is compared with."""

    pairs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Glob of fake sources -> globs of real sources; the first glob that matches counts."""
    others: tuple[str, ...] = ("*",)
    """Globs of the reals for fakes that none of `pairs` matches."""

    def __post_init__(self) -> None:
        for fakes, reals in self.pairs.items():
            if isinstance(reals, str) or not all(isinstance(glob, str) for glob in reals):
                raise ConfigError(f"pairs: {fakes!r} needs a list of globs of real sources")

    def reals_of(self, source: str) -> Sequence[str]:
        """Globs of the real sources that this source of fakes is compared with."""
        for fakes, reals in self.pairs.items():
            if fnmatchcase(source, fakes):
                return reals
        return self.others


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The logits of all samples that could be read."""

    samples: tuple[Sample, ...]
    logits: NDArray[np.float64]
    """(N,), in the order of `samples`."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """Key and reason of every sample that could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a detector gives on some fakes against some reals."""

    auc: Estimate
    ap: Estimate
    """At as many reals as fakes."""
    acc: Estimate
    """Mean of the share of fakes found and the share of reals not called fake."""
    fake_acc: Estimate
    """Share of fakes found: called fake."""
    called_fake: Estimate
    """Share of reals called fake."""


@dataclass(frozen=True, slots=True)
class Row:
    """One source of fakes."""

    source: str
    fakes: int
    reals: int
    figures: Figures


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
    """Over sources of fakes, each counting once."""
    reals: tuple[RealRow, ...]
    unreadable: tuple[tuple[str, str], ...]


def score_samples(
    samples: Iterable[Sample],
    scorer: Scorer,
    preprocess: Preprocess,
    batch_size: int = 32,
    limits: Limits | None = None,
) -> ScoreTable:
    """Score every sample as a scan would; what cannot be read is listed, not fatal."""
    scored: list[Sample] = []
    unreadable: list[tuple[str, str]] = []
    logits: list[NDArray[np.float32]] = []
    crops = _read(samples, preprocess, limits, unreadable)
    while batch := list(islice(crops, batch_size)):
        scored += [sample for sample, _ in batch]
        logits.append(mean_logits(scorer, [crop for _, crop in batch]))
    values = np.concatenate(logits).astype(np.float64) if logits else np.zeros(0)
    return ScoreTable(tuple(scored), values, tuple(unreadable))


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
    calibration, band = calibration or Calibration(), band or Band()
    scores = [calibration.score(float(logit)) for logit in table.logits]
    resampled = _Resampled.draw(table, np.array(scores) >= band.t_fake, resamples, seed)
    fakes = sorted({s.source for s in table.samples if s.label == 1})
    if not fakes:
        raise DatasetError("no fake image could be read, so that there is nothing to compare")
    places = {source: _places(table, source, pairing) for source in fakes}
    values = {source: resampled.figures(places[source]) for source in fakes}
    rows = tuple(_row(table, source, places[source], values[source]) for source in fakes)
    mean = {name: np.mean([v[name] for v in values.values()], axis=0) for name in values[fakes[0]]}
    return Benchmark(rows, _bound(mean), _real_rows(table, resampled), table.unreadable)


@dataclass(frozen=True, slots=True)
class _Resampled:
    """Labels, logits and calls of all images with their weightings, the even one first."""

    labels: NDArray[np.int_]
    logits: NDArray[np.float64]
    is_called: NDArray[np.bool_]
    weights: Weights  # (1 + S, N)

    @classmethod
    def draw(
        cls, table: ScoreTable, is_called: NDArray[np.bool_], resamples: int, seed: int
    ) -> _Resampled:
        names = [f"{s.label} {s.source}" for s in table.samples]
        strata = np.unique(names, return_inverse=True)[1]
        drawn = resample(strata, resamples=resamples, seed=seed)
        labels = np.array([s.label for s in table.samples], dtype=np.int64)
        return cls(labels, table.logits, is_called, np.vstack([np.ones((1, len(names))), drawn]))

    def figures(self, places: NDArray[np.int_]) -> dict[str, Weights]:
        """Each figure of these images, once per weighting, (1 + S,)."""
        labels, logits = self.labels[places], self.logits[places]
        weights = self.weights[:, places]
        found = self.share_called(places[labels == 1])
        called = self.share_called(places[labels == 0])
        return {
            "auc": weighted_auc(labels, logits, weights),
            "ap": weighted_ap_one_to_one(labels, logits, weights),
            "acc": (found + 1 - called) / 2,
            "fake_acc": found,
            "called_fake": called,
        }

    def share_called(self, places: NDArray[np.int_]) -> Weights:
        """Share of these images that is called fake, (1 + S,)."""
        weights = self.weights[:, places]
        share: Weights = (weights * self.is_called[places]).sum(axis=1) / weights.sum(axis=1)
        return share


def _read(
    samples: Iterable[Sample],
    preprocess: Preprocess,
    limits: Limits | None,
    unreadable: list[tuple[str, str]],
) -> Iterator[tuple[Sample, NDArray[np.uint8]]]:
    for sample in samples:
        try:
            crop = views(open_picture(sample.path, limits).image, preprocess)
        except ImageError as e:
            unreadable.append((sample.key, str(e)))
        else:
            yield sample, crop


def _places(table: ScoreTable, source: str, pairing: Pairing) -> NDArray[np.int_]:
    """Where the fakes of a source and their reals are in the table."""
    globs = pairing.reals_of(source)
    places = np.array(
        [
            i
            for i, s in enumerate(table.samples)
            if (s.source == source if s.label else any(fnmatchcase(s.source, g) for g in globs))
        ]
    )
    if all(table.samples[i].label for i in places):
        raise DatasetError(f"{source}: no real image of {', '.join(globs)} to compare with")
    return places


def _row(
    table: ScoreTable, source: str, places: NDArray[np.int_], values: dict[str, Weights]
) -> Row:
    fakes = sum(table.samples[i].label for i in places)
    return Row(source, fakes, len(places) - fakes, _bound(values))


def _real_rows(table: ScoreTable, resampled: _Resampled) -> tuple[RealRow, ...]:
    rows = []
    for source in sorted({s.source for s in table.samples if s.label == 0}):
        places = np.array(
            [i for i, s in enumerate(table.samples) if s.label == 0 and s.source == source]
        )
        share = resampled.share_called(places)
        rows.append(RealRow(source, len(places), bounded(float(share[0]), share[1:])))
    return tuple(rows)


def _bound(values: Mapping[str, Weights]) -> Figures:
    """The even weighting's figures with the percentiles of the others."""
    return Figures(**{name: bounded(float(v[0]), v[1:]) for name, v in values.items()})
