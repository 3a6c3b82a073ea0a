"""The benchmark: a model and images -> how fast this machine scans them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fakescan
from fakescan import machine, runtime
from fakescan.bench.clock import TimedSession, children_peak_mb, peak_mb
from fakescan.bench.laps import Images, Laps, Round
from fakescan.bench.photos import choose_photos, make_photos
from fakescan.errors import ConfigError
from fakescan.gpu import gpu_name
from fakescan.scan.pipeline import ScanSettings
from fakescan.session import Device

BATCHES = 32
"""In a round, unless told otherwise."""

Progress = Callable[[int, int], None]
"""Called with the rounds that are done and the rounds in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSettings:
    """What to measure, and how often."""

    images: int | None = None
    """In a round; None takes 32 batches."""
    rounds: int = 7
    """How often everything is measured."""
    batch_size: int | None = None
    """As `ScanSettings.batch_size`."""
    workers: int | None = None
    """As `ScanSettings.workers`."""

    def __post_init__(self) -> None:
        for name in ("images", "rounds", "batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}: must be positive, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """The result of a benchmark."""

    version: str
    """Of fakescan."""
    runtime: str
    machine: str
    """Processor, or GPU and processor, system and Python."""
    detector: str
    """Its fingerprint."""
    precision: str
    device: Literal["cpu", "cuda"]
    batch: int
    """Images scored together."""
    workers: int
    """Processes that decode."""
    images: Images
    are_made: bool
    """The images were made for the benchmark."""
    left_out: int
    """Files that could not be decoded."""
    load_s: float
    """Loading the detector."""
    rounds: tuple[Round, ...]
    peak_mb: float | None
    """Memory of this process at its most, 10^6 bytes; None where nobody tells."""
    decoder_mb: float | None
    """The same of the largest decoder."""

    @property
    def typical(self) -> Round:
        """The round whose ratio is the median, the lower one of two."""
        return sorted(self.rounds, key=lambda r: r.ratio)[(len(self.rounds) - 1) // 2]


def bench(
    model: Path,
    targets: Sequence[str],
    settings: BenchSettings,
    device: Device = "auto",
    progress: Progress = lambda _done, _all: None,
) -> Bench:
    """Measure how fast this machine scans.

    Args:
        model: file of the detector.
        targets: images and folders; without any, photographs are made.
        settings: how to measure.
        device: where the detector runs.
        progress: called after each round.

    Raises:
        WeightsError: the detector cannot be used.
        ConfigError: too few images, or no GPU.
    """
    begin = time.perf_counter()
    session = TimedSession(model, device=device)
    load_s = time.perf_counter() - begin
    how = ScanSettings(batch_size=settings.batch_size, workers=settings.workers)
    count = settings.images or BATCHES * how.batch_on(session.device)
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder:
        paths = choose_photos(targets, count) if targets else make_photos(Path(folder), count)
        with Laps(session, how, paths) as laps:
            images, rounds = laps.images(), []
            for i in range(settings.rounds):
                progress(i, settings.rounds)
                rounds.append(laps.round(is_scan_first=i % 2 == 1))
            progress(settings.rounds, settings.rounds)
            decoder_mb = children_peak_mb()
    return Bench(
        version=fakescan.__version__,
        runtime=runtime.described(),
        machine=machine.description()
        if session.device == "cpu"
        else f"{gpu_name()}, {machine.description()}",
        detector=session.fingerprint,
        precision=session.metadata.precision,
        device=session.device,
        batch=laps.batch,
        workers=how.decoders,
        images=images,
        are_made=not targets,
        left_out=len(paths) - images.count,
        load_s=load_s,
        rounds=tuple(rounds),
        peak_mb=peak_mb(),
        decoder_mb=decoder_mb,
    )
