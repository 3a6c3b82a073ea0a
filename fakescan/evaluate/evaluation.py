"""A detector, or somebody else's scores, on labelled images: everything that is reported.

A `Plan` says which images are scored and what meets what, an `Evaluation` holds the figures of one
detector under every condition. Several evaluations of one plan make a
`fakescan.evaluate.record.Report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fakescan.data.samples import Sample
from fakescan.evaluate.against_paper import AgainstPaper
from fakescan.evaluate.benchmark import (
    Benchmark,
    ScoreTable,
    difference_of_means,
    evaluate_rows,
)
from fakescan.evaluate.drawn import Drawn
from fakescan.evaluate.equalise import Equalising
from fakescan.evaluate.figures import Called
from fakescan.evaluate.intervals import RESAMPLES, Estimate
from fakescan.evaluate.pairing import By, Comparison, Pairing, compare, limited
from fakescan.evaluate.properties_auc import PropertiesAuc, properties_auc
from fakescan.evaluate.score import LoadedDetector, ScoreSettings, score_samples
from fakescan.evaluate.scores_file import ScoresFile
from fakescan.image import Preprocess
from fakescan.perturb import PLAIN, ROBUSTNESS
from fakescan.records import Band

RAW, EQUALISED = "raw", "equalised"
"""Names of conditions; all others are perturbations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How an evaluation runs."""

    equalising: Equalising | None = field(default_factory=Equalising)
    """How both classes are made alike for the second pass; None leaves it out."""
    robustness: bool = False
    """Also under blur sigma 1 to 4 and JPEG 90 to 30."""
    resamples: int = RESAMPLES
    """Of the bootstrap."""
    seed: int = 0
    """Of the bootstrap and of what a limit chooses."""
    batch_size: int = 1
    """Images scored together."""
    workers: int | None = None
    """Processes that decode; None takes one per core."""
    preprocess: Preprocess | None = None
    """How an image becomes the detector's input; None takes the detector's own way."""

    @property
    def conditions(self) -> dict[str, str]:
        """Perturbations by the condition's name."""
        equal = {EQUALISED: self.equalising.perturbation} if self.equalising else {}
        hard = {name: name for name in ROBUSTNESS} if self.robustness else {}
        return {RAW: PLAIN, **equal, **hard}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be scored, and what meets what."""

    samples: tuple[Sample, ...]
    comparisons: tuple[Comparison, ...]

    @classmethod
    def make(
        cls,
        samples: Sequence[Sample],
        *,
        by: By = "generator",
        pairing: Pairing | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> Plan:
        """Plan for labelled images.

        Args:
            samples: reals and fakes.
            by: what a row is.
            pairing: which reals a source of fakes meets; None: those nearest in the layout.
            limit: fakes of a row, and of its reals, that are scored at most.
            seed: decides which.

        Raises:
            DatasetError: as `fakescan.evaluate.pairing.compare`.
        """
        comparisons = compare(samples, by=by, pairing=pairing)
        chosen = samples if limit is None else limited(comparisons, samples, limit, seed)
        return cls(tuple(chosen), comparisons)


@dataclass(frozen=True, slots=True)
class Condition:
    """One way the images were shown."""

    table: ScoreTable
    called: Called
    benchmark: Benchmark


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What one detector gives."""

    detector: str
    """Fingerprint, or the file of scores."""
    t_fake: float | None
    """Score from which an image is called fake; None: no verdicts, no accuracy."""
    t_real: float | None
    """Score below which it is called real."""
    is_calibrated: bool
    """Scores are probabilities of fake, so that there is an ECE."""
    conditions: Mapping[str, Condition]
    """By name, `RAW` first."""
    properties: PropertiesAuc | None
    """None where files were not looked at."""
    left_out: tuple[tuple[str, str], ...]
    """Key and reason of every image without a score."""
    surplus: tuple[str, ...] = ()
    """Rows of a file of scores that belong to no image."""
    paper: tuple[AgainstPaper, ...] = ()
    """With a protocol: figures beside the paper's."""
    differences: Mapping[str, Estimate] = field(default_factory=dict)
    """By condition: mean AUC minus that of the first detector, on the images both scored."""

    @property
    def raw(self) -> Benchmark:
        """Figures of the images as they are."""
        return self.conditions[RAW].benchmark


def evaluate_detector(
    plan: Plan,
    detector: LoadedDetector,
    settings: Settings,
    progress: Callable[[], None] = lambda: None,
    band: Band | None = None,
) -> Evaluation:
    """Score the plan's images under every condition and state all figures.

    Args:
        plan: what is scored.
        detector: loaded.
        settings: how.
        progress: called for each image that is through.
        band: instead of the detector's own thresholds.

    Raises:
        DatasetError: no row of which a fake and a real could be read.
    """
    metadata, band = detector.metadata, band or detector.metadata.band
    names = settings.conditions
    scored = score_samples(
        plan.samples,
        detector,
        settings.preprocess or metadata.preprocess,
        ScoreSettings(
            perturbations=tuple(name for name in names.values() if name != PLAIN),
            batch_size=settings.batch_size,
            workers=settings.workers,
        ),
        progress,
    )
    drawn = Drawn.draw(scored.plain.samples, settings.resamples, settings.seed)
    conditions = {}
    for name, perturbation in names.items():
        table = scored.tables[perturbation]
        called = Called.by_band(table.logits, metadata.calibration, band)
        benchmark = evaluate_rows(table, plan.comparisons, called, drawn)
        conditions[name] = Condition(table, called, benchmark)
    return Evaluation(
        detector=detector.fingerprint,
        t_fake=band.t_fake,
        t_real=band.t_real,
        is_calibrated=True,
        conditions=conditions,
        properties=properties_auc(scored.plain, scored.properties, plan.comparisons, drawn),
        left_out=scored.plain.unreadable,
    )


def evaluate_scores(
    plan: Plan, file: ScoresFile, name: str, threshold: float | None, settings: Settings
) -> Evaluation:
    """State all figures of somebody else's scores; no image is opened.

    Args:
        plan: what is evaluated.
        file: scores of the plan's samples.
        name: of the detector, as reports show it.
        threshold: called fake at `score >= threshold`; None leaves accuracy out.
        settings: of which only the resamples count.

    Raises:
        DatasetError: no row of which a fake and a real have a score.
    """
    drawn = Drawn.draw(file.table.samples, settings.resamples, settings.seed)
    called = Called.by_threshold(file.scores, threshold, is_probability=file.is_probability)
    benchmark = evaluate_rows(file.table, plan.comparisons, called, drawn)
    return Evaluation(
        detector=name,
        t_fake=threshold,
        t_real=threshold,
        is_calibrated=file.is_probability,
        conditions={RAW: Condition(file.table, called, benchmark)},
        properties=None,
        left_out=file.table.unreadable,
        surplus=file.surplus,
    )


def differences(
    first: Evaluation, other: Evaluation, plan: Plan, settings: Settings
) -> dict[str, Estimate]:
    """By condition: how much higher `other`'s mean AUC over rows is than `first`'s."""
    found = {}
    for name in first.conditions:
        own, theirs = _common(other.conditions[name].table, first.conditions[name].table)
        drawn = Drawn.draw(own.samples, settings.resamples, settings.seed)
        found[name] = difference_of_means(own, theirs, plan.comparisons, drawn)
    return found


def _common(table: ScoreTable, other: ScoreTable) -> tuple[ScoreTable, ScoreTable]:
    """Both without the images that only one of them has, in the same order."""
    places = {s.key: i for i, s in enumerate(other.samples)}
    own = [i for i, s in enumerate(table.samples) if s.key in places]
    kept = tuple(table.samples[i] for i in own)
    theirs = [places[s.key] for s in kept]
    return (
        ScoreTable(kept, table.logits[np.array(own, np.int64)]),
        ScoreTable(kept, other.logits[np.array(theirs, np.int64)]),
    )
