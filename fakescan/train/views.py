"""Files -> crops in worker processes, in order, a bounded number ahead. Torch-free.

Workers are started afresh (spawn), since a process that runs torch's threads must not be forked.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan.data.augment import Augmentation, draw, generator
from fakescan.data.degrading import Degradation, degrade
from fakescan.data.samples import Sample
from fakescan.errors import DatasetError, ImageError
from fakescan.image import Preprocess, open_picture, to_rgb, views

CENTRE = -1
"""Draw number of the middle square, as a scan would cut it: no randomness. The corners that a scan
cuts too have the numbers below it; an image that has none gives its middle instead."""
DEGRADED = 1 << 20
"""Draw number of the first degraded view; random views have the numbers from 0 up to it."""
AHEAD = 32
"""Crops held per worker."""


@dataclass(frozen=True, slots=True)
class ViewRecipe:
    """How a sample becomes a crop; the same for a whole run."""

    preprocess: Preprocess
    augmentation: Augmentation
    seed: int
    degradation: Degradation = field(default_factory=Degradation)


@dataclass(frozen=True, slots=True)
class ViewJob:
    """One crop to make."""

    path: Path
    name: str
    """Of the sample or its pair; names the random numbers."""
    draw: int
    data: bytes | None = None
    """Of the file, where it lies in a shard."""


@dataclass(frozen=True, slots=True)
class View:
    """One crop (S, S, 3), or the reason there is none."""

    crop: NDArray[np.uint8] | None
    error: str = ""


def view_job(sample: Sample, number: int, data: bytes | None = None) -> ViewJob:
    """The job of one sample's draw; both members of a pair get the same random numbers."""
    return ViewJob(sample.path, sample.pair or sample.key, number, data)


def make_view(job: ViewJob, recipe: ViewRecipe) -> View:
    """Decode one file and cut one crop."""
    try:
        image = open_picture(job.path if job.data is None else job.data).image
        if job.draw <= CENTRE:
            squares = views(image, recipe.preprocess)
            return View(squares[min(CENTRE - job.draw, len(squares) - 1)])
        rng = generator(recipe.seed, job.name, job.draw)
        if job.draw >= DEGRADED:
            return View(_degraded(to_rgb(image), rng, recipe))
        image_px = recipe.preprocess.image_px
        return View(draw(to_rgb(image), rng, recipe.augmentation, image_px))
    except ImageError as e:
        return View(None, str(e))


def _degraded(
    image: Image.Image, rng: np.random.Generator, recipe: ViewRecipe
) -> NDArray[np.uint8]:
    """One of the squares that a scan would cut, after what happens to the picture."""
    chance = rng.random()  # first: shrinking decides how many squares there are
    squares = views(degrade(image, rng, recipe.degradation), recipe.preprocess)
    square: NDArray[np.uint8] = squares[int(chance * len(squares))]
    return square


class ViewPool:
    """Makes crops in order; close it, or use it in a `with`."""

    def __init__(self, recipe: ViewRecipe, workers: int | None) -> None:
        self.recipe = recipe
        self.workers = default_workers() if workers is None else workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ViewPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def views(self, jobs: Iterable[ViewJob]) -> Iterator[View]:
        """Every job's crop, in order.

        Raises:
            DatasetError: a worker process died, as it does when memory runs out.
        """
        if not self.workers:
            for job in jobs:
                yield make_view(job, self.recipe)
            return
        waiting: deque[tuple[ViewJob, Future[View]]] = deque()
        try:
            for job in jobs:
                waiting.append((job, self._workers().submit(make_view, job, self.recipe)))
                if len(waiting) >= AHEAD * self.workers:
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_settle)
        return self._pool


def default_workers() -> int:
    """One less than processors, at least 1 and at most 16; torchrun's processes share them."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(16, (os.cpu_count() or 2) // beside - 1))


def _result(job: ViewJob, future: Future[View]) -> View:
    try:
        return future.result()
    except BrokenProcessPool as e:
        raise DatasetError(
            f"{job.path}: a process that decodes images died here or just after; "
            "the file may be harmful, or memory ran out: try fewer --workers"
        ) from e


def _settle() -> None:
    """Leave Ctrl-C to the training process, and the processor too: it waits for nothing else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(AttributeError, OSError):
        os.nice(1)
