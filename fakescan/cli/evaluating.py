"""`fakescan evaluate`: detectors and scores loaded, and evaluated with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from fakescan import weights
from fakescan.cli.progress import evaluate_progress, fetch_progress
from fakescan.data.samples import Sample
from fakescan.errors import ConfigError
from fakescan.evaluate.evaluation import (
    Evaluation,
    Plan,
    Settings,
    differences,
    evaluate_detector,
    evaluate_scores,
)
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


def of_detectors(
    plan: Plan,
    models: Sequence[str | None],
    loading: Loading,
    settings: Settings,
    threshold: float | None,
) -> tuple[Evaluation, ...]:
    """Every detector's evaluation; from the second on with the difference to the first.

    Args:
        plan: what is scored.
        models: at least one, each as `load_detector` takes it; all are loaded before any scores.
        loading: how.
        settings: a batch size of 0 takes the device's own.
        threshold: instead of the detectors' own; None keeps those.
    """
    band = None if threshold is None else band_at(threshold)
    detectors = [load_detector(model, loading) for model in models]
    found: list[Evaluation] = []
    total = len(plan.samples) * len(detectors)
    with evaluate_progress(loading.console, total, is_shown=loading.is_shown) as advance:
        for detector in detectors:
            batch = settings.batch_size or (GPU_BATCH if detector.device == "cuda" else 1)
            own = replace(settings, batch_size=batch)
            evaluation = evaluate_detector(plan, detector, own, advance, band)
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
) -> Evaluation:
    """The evaluation of a CSV's scores.

    Args:
        plan: what is evaluated.
        file: the CSV.
        samples: all of the data, also those that are not in the plan.
        settings: of which only the resamples count.
        threshold: for accuracy; None leaves it out.
    """
    read = read_scores(file, plan.samples, samples)
    return evaluate_scores(plan, read, file.name, threshold, settings)
