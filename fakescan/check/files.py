"""Files -> what a check needs to know of each, in worker processes and in order.

A file on which a decoder crashes or hangs costs that file: its process is replaced.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from fakescan.data.duplicates import perceptual_hash
from fakescan.data.properties import NAMES, properties_of
from fakescan.data.samples import Sample
from fakescan.errors import ImageError
from fakescan.image import FORMATS, Limits, opened
from fakescan.machine import usable_cores
from fakescan.reasons import reasons

AHEAD = 32
"""Files asked for in advance, per worker."""
TIMEOUT_S = 60.0
"""Seconds that one file may take."""
JPEG_QUALITY = NAMES.index("jpeg_quality")


@dataclass(frozen=True, slots=True)
class Facts:
    """What one file is, without its pixels."""

    sha256: str
    """Of its bytes, in hex."""
    look: int | None
    """Perceptual hash, 64 bits; None for an image without structure."""
    width: int
    height: int
    format: str
    properties: tuple[float, ...]
    """(P,), as `fakescan.data.properties.NAMES`."""

    @property
    def jpeg_quality(self) -> float | None:
        """1 to 100; None for what is no JPEG."""
        quality = self.properties[JPEG_QUALITY]
        return quality if quality > 0 else None


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample with its facts, or the reason there are none."""

    sample: Sample
    facts: Facts | None
    error: str = ""


def read_facts(path: Path, limits: Limits | None = None) -> Facts:
    """Decode one file and say what it is.

    Raises:
        ImageError: it cannot be read.
    """
    limits = limits or Limits()
    with opened(path, limits) as (image, picture), reasons(FORMATS, limits.max_megapixels):
        with path.open("rb") as stream:  # the file may go, or change, at any moment
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        values = tuple(properties_of(image, picture, path.stat().st_size).tolist())
        look = perceptual_hash(picture.image)
    return Facts(sha256, look, picture.width, picture.height, picture.format, values)


def read_files(
    samples: Sequence[Sample], *, workers: int | None = None, timeout_s: float = TIMEOUT_S
) -> Iterator[Reading]:
    """Yield every sample, in order, with its facts or the reason there are none.

    Args:
        samples: any number.
        workers: processes that decode; None: one per core.
        timeout_s: seconds that one file may take.
    """
    workers = workers or usable_cores()
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[Sample, ProcessFuture[Facts | str]]] = deque()
    count = min(workers, max(1, len(samples)))
    with ProcessPool(count, context=context, initializer=_settle) as pool:
        try:
            for sample in samples:
                task = pool.schedule(_read, args=(sample.path,), timeout=timeout_s)
                waiting.append((sample, task))
                if len(waiting) >= AHEAD * workers:
                    yield _reading(*waiting.popleft(), timeout_s)
            while waiting:
                yield _reading(*waiting.popleft(), timeout_s)
        finally:
            if waiting:  # whoever asked has gone: nobody waits for the rest
                pool.stop()  # type: ignore[no-untyped-call]


def unreadable(readings: Iterable[Reading]) -> tuple[tuple[str, str], ...]:
    """Key and reason of every sample that could not be read."""
    return tuple((r.sample.key, r.error) for r in readings if r.facts is None)


def _settle() -> None:
    """In a worker: C libraries complain about files on standard error, which says nothing new."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)


def _read(path: Path) -> Facts | str:
    """In a worker: the facts, or the reason there are none."""
    try:
        return read_facts(path)
    except ImageError as e:
        return str(e)


def _reading(sample: Sample, task: ProcessFuture[Facts | str], timeout_s: float) -> Reading:
    try:
        answer = task.result()
    except ProcessExpired:
        return Reading(sample, None, "the decoder crashed on it")
    except TimeoutError:
        return Reading(sample, None, f"took longer than {timeout_s:g} s")
    return Reading(sample, None, answer) if isinstance(answer, str) else Reading(sample, answer)
