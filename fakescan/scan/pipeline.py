"""The chain of a scan: walk -> decode ahead -> score in batches -> findings, as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fakescan.errors import ConfigError
from fakescan.image import Limits
from fakescan.records import Finding, Summary
from fakescan.scan.crop import Crop, Extras
from fakescan.scan.decode import Children, Decoded, decode_ahead
from fakescan.scan.judge import Judge, band_at
from fakescan.scan.walk import check, walk
from fakescan.scan.worker import Job
from fakescan.session import OnnxSession

GPU_BATCH = 32
"""Enough to fill a GPU; on the CPU images are scored one by one anyway."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanSettings:
    """How a scan runs."""

    threshold: float | None = None
    """Score from which an image is fake, and below which it is real; None takes the detector's
    own two thresholds."""
    batch_size: int | None = None
    """Images scored together; None takes 1 on the CPU and 32 on a GPU."""
    workers: int | None = None
    """Processes that decode; None takes one per core."""
    timeout_s: float = 60.0
    """Seconds that decoding one image may take."""
    max_megapixels: float = 250.0
    """Millions of pixels from which an image is refused."""
    hashes: bool = False
    """Findings carry the sha256 of their file."""
    thumbnails: bool = False
    """Findings carry a small picture."""

    def __post_init__(self) -> None:
        if self.threshold is not None:
            band_at(self.threshold)
        for name in ("batch_size", "workers", "timeout_s", "max_megapixels"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}: must be positive, got {value}")


def scan(
    targets: Sequence[str], session: OnnxSession, settings: ScanSettings, summary: Summary
) -> Generator[Finding, None, None]:
    """Score every image among the targets; a file that cannot be scored is a finding too.

    Closing the iterator early ends the child processes.

    Args:
        targets: files and folders.
        session: the detector.
        settings: how to scan.
        summary: counts what passes; complete once the iterator has run out.

    Raises:
        ConfigError: a target does not exist; raised before anything is scanned.
    """
    check(targets)
    return _scan(targets, session, settings, summary)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _scan(
    targets: Sequence[str], session: OnnxSession, settings: ScanSettings, summary: Summary
) -> Generator[Finding, None, None]:
    started = time.perf_counter()
    batch = settings.batch_size or (GPU_BATCH if session.device == "cuda" else 1)
    workers = settings.workers or usable_cores()
    job = Job(
        preprocess=session.metadata.preprocess,
        limits=Limits(max_megapixels=settings.max_megapixels),
        timeout_s=settings.timeout_s,
        extras=Extras(hashes=settings.hashes, thumbnails=settings.thumbnails),
    )
    judge = Judge(session.metadata, session.fingerprint, settings.threshold)
    try:
        with Children(job) as children:
            paths = walk(targets, summary.skipped)
            ahead = batch + 2 * workers
            with closing(
                decode_ahead(paths, children.decode, workers=workers, ahead=ahead)
            ) as decoded:
                yield from summary.watch(_score(decoded, session, judge, batch))
        summary.is_complete = True
    finally:
        summary.elapsed_s = time.perf_counter() - started


def _score(
    decoded: Iterator[Decoded[str, Crop]], session: OnnxSession, judge: Judge, batch: int
) -> Iterator[Finding]:
    while group := list(islice(decoded, batch)):
        crops = [d.pixels.pixels for d in group if d.pixels is not None]
        logits = iter(session.logits(np.stack(crops)).tolist() if crops else [])
        for d in group:
            if d.pixels is None:
                yield judge.failed(d.item, str(d.error))
            else:
                yield judge.scored(d.item, d.pixels, next(logits))
