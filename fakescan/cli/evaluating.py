"""`fakescan evaluate`: detectors and scores loaded, and evaluated with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from fakescan import weights
from fakescan.cli.progress import evaluate_progress, fetch_progress
from fakescan.data.samples import Sample, read_samples
from fakescan.errors import ConfigError
from fakescan.evaluate.against_paper import Against, against_paper
from fakescan.evaluate.evaluation import (
    Evaluation,
    Plan,
    Settings,
    differences,
    evaluate_detector,
    evaluate_scores,
)
from fakescan.evaluate.pairing import By, Pairing
from fakescan.evaluate.protocols import PER_LABEL, paper_view, setup
from fakescan.evaluate.score import LoadedDetector
from fakescan.evaluate.scores_file import read_scores
from fakescan.scan.judge import band_at
from fakescan.session import Device, OnnxSession

GPU_BATCH = 32
"""Images scored together on a GPU, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Where detectors run and come from, and who sees that it takes time."""

    device: Device
    is_offline: bool
    console: Console
    """Standard error's."""
    is_shown: bool
    """A bar may be shown."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which images are measured, and what a row is."""

    splits: tuple[str, ...]
    by: By
    pairing: Pairing | None
    limit: int | None
    seed: int


def choose(
    data: Path, choice: Choice, protocol: str | None, paper_row: str | None
) -> tuple[Plan, Against | None]:
    """What is scored; with a protocol, what it is compared with.

    Args:
        data: a tree or a manifest; a protocol needs a tree.
        choice: with a protocol, only the limit and its seed.
        protocol: of `fakescan.evaluate.protocols.PROTOCOLS`, or None.
        paper_row: with a protocol.

    Raises:
        ConfigError: options that contradict each other.
        DatasetError: data that cannot be used.
    """
    if protocol is None:
        if paper_row is not None:
            raise ConfigError("--paper-row: needs --protocol, which says which table")
        samples = read_samples(data, split=choice.splits or None)
        plan = Plan.make(
            samples, by=choice.by, pairing=choice.pairing, limit=choice.limit, seed=choice.seed
        )
        return plan, None
    for option, is_given in (
        ("--split", bool(choice.splits)),
        ("--pairing", choice.pairing is not None),
        ("--by source", choice.by != "generator"),
    ):
        if is_given:
            raise ConfigError(f"--protocol: takes no {option}; {protocol} decides on it")
    found = setup(data, protocol, per_label=choice.limit or PER_LABEL, seed=choice.seed)
    return Plan(found.samples, found.comparisons), Against(found, paper_row)


def all_samples(data: Path, plan: Plan) -> list[Sample]:
    """Every sample of the data, also those that are not in the plan."""
    samples = {s.key: s for s in (*read_samples(data), *plan.samples)}
    return [samples[key] for key in sorted(samples)]


def of_detectors(
    plan: Plan,
    models: Sequence[str | None],
    loading: Loading,
    settings: Settings,
    threshold: float | None,
    against: Against | None = None,
) -> tuple[Evaluation, ...]:
    """Every detector's evaluation; from the second on with the difference to the first.

    Args:
        plan: what is scored.
        models: at least one, each as `load_detector` takes it; all are loaded before any scores.
        loading: how.
        settings: a batch size of 0 takes the device's own.
        threshold: instead of the detectors' own; None keeps those.
        against: the protocol that the plan is of.

    Raises:
        ConfigError: the paper has no row for a detector.
    """
    band = None if threshold is None else band_at(threshold)
    detectors = [load_detector(model, loading) for model in models]
    rows = [against.row_of(d.metadata.backbone.name) if against else "" for d in detectors]
    found: list[Evaluation] = []
    total = len(plan.samples) * len(detectors)
    with evaluate_progress(loading.console, total, is_shown=loading.is_shown) as advance:
        for detector, row in zip(detectors, rows, strict=True):
            batch = settings.batch_size or (GPU_BATCH if detector.device == "cuda" else 1)
            own = replace(settings, batch_size=batch)
            if against:
                own = replace(own, preprocess=paper_view(detector.metadata.preprocess))
            evaluation = evaluate_detector(plan, detector, own, advance, band)
            if against:
                beside = against_paper(evaluation.raw, against.setup, row)
                evaluation = replace(evaluation, paper=beside)
            if found:
                gains = differences(found[0], evaluation, plan, own)
                evaluation = replace(evaluation, differences=gains)
            found.append(evaluation)
    return tuple(found)


def load_detector(model: str | None, loading: Loading) -> LoadedDetector:
    """An exported file, a run folder, or a name in the registry; None takes the default detector.

    Raises:
        ConfigError: a run folder without the packages that it needs, or no such detector.
        WeightsError: a detector that cannot be used.
    """
    if model is not None and Path(model).is_dir():
        try:
            from fakescan.train.scorer import RunScorer
        except ModuleNotFoundError as e:
            if (e.name or "").startswith("fakescan"):
                raise
            raise ConfigError(
                f"{model}: a run folder needs the package {e.name}: pip install 'fakescan[train]'"
            ) from e
        return RunScorer(Path(model), device=loading.device)
    is_shown = loading.is_shown and loading.console.is_terminal
    with fetch_progress(loading.console, is_shown=is_shown) as fetching:
        file = weights.resolve(model, offline=loading.is_offline, progress=fetching)
    return OnnxSession(file, device=loading.device)


def of_scores(
    plan: Plan,
    file: Path,
    samples: Sequence[Sample],
    settings: Settings,
    threshold: float | None,
    against: Against | None = None,
) -> Evaluation:
    """The evaluation of a CSV's scores.

    Args:
        plan: what is evaluated.
        file: the CSV.
        samples: all of the data, also those that are not in the plan.
        settings: of which only the resamples count.
        threshold: for accuracy; None leaves it out.
        against: the protocol that the plan is of.

    Raises:
        ConfigError: the protocol's tables have no such row, or none was named.
    """
    if against and not against.paper_row:
        raise ConfigError("--scores: with --protocol, --paper-row says what to compare with")
    row = against.row_of("") if against else ""
    read = read_scores(file, plan.samples, samples)
    evaluation = evaluate_scores(plan, read, file.name, threshold, settings)
    if against:
        evaluation = replace(evaluation, paper=against_paper(evaluation.raw, against.setup, row))
    return evaluation
