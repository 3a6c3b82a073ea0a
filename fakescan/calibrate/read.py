"""Labelled images -> logits, and what tells whether two of them are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fakescan.data.duplicates import difference_hash
from fakescan.data.samples import Sample
from fakescan.errors import ImageError, ImageUnreadable
from fakescan.image import Preprocess, open_picture, views
from fakescan.records import Scorer, mean_logits

BATCH = 32
KEPT = 8
"""Crops that are kept, to compare two detector files with."""

Progress = Callable[[], None]
"""Called for each image that is through."""


@dataclass(frozen=True, slots=True)
class Images:
    """What could be read, in the order of the samples."""

    samples: tuple[Sample, ...]
    logits: NDArray[np.float64]
    """(N,)"""
    digests: tuple[str, ...]
    """sha256 of every file's bytes, hexadecimal."""
    hashes: tuple[int, ...]
    """Difference hash of every image: few bits apart for near copies."""
    crops: NDArray[np.uint8]
    """The middle squares of the first few, (n, S, S, 3)."""
    unreadable: tuple[tuple[str, str], ...]
    """Key and reason."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,), 0 real, 1 fake."""
        return np.array([s.label for s in self.samples], np.int64)


def read_images(
    samples: Sequence[Sample], scorer: Scorer, preprocess: Preprocess, progress: Progress
) -> Images:
    """Read and score every sample as a scan would; what cannot be read is listed."""
    unreadable: list[tuple[str, str]] = []
    looks: list[_Look] = []
    logits: list[NDArray[np.float32]] = []
    crops: list[NDArray[np.uint8]] = []
    stream = _looks(samples, preprocess, unreadable, progress)
    while batch := list(islice(stream, BATCH)):
        logits.append(mean_logits(scorer, [squares for _, squares in batch]))
        looks += [look for look, _ in batch]
        crops += [squares[0] for _, squares in batch[: KEPT - len(crops)]]
    px = preprocess.image_px
    return Images(
        tuple(look.sample for look in looks),
        np.concatenate([np.zeros(0), *logits]).astype(np.float64),
        tuple(look.digest for look in looks),
        tuple(look.hash for look in looks),
        np.stack(crops) if crops else np.zeros((0, px, px, 3), np.uint8),
        tuple(unreadable),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    sample: Sample
    digest: str
    hash: int


def _looks(
    samples: Sequence[Sample],
    preprocess: Preprocess,
    unreadable: list[tuple[str, str]],
    progress: Progress,
) -> Iterator[tuple[_Look, NDArray[np.uint8]]]:
    for sample in samples:
        try:
            data = _bytes(sample)
            image = open_picture(data).image
            squares = views(image, preprocess)
        except ImageError as e:
            unreadable.append((sample.key, str(e)))
        else:
            yield _Look(sample, hashlib.sha256(data).hexdigest(), difference_hash(image)), squares
        progress()


def _bytes(sample: Sample) -> bytes:
    try:
        return sample.path.read_bytes()
    except OSError as e:
        raise ImageUnreadable(f"cannot be read ({e.strerror})") from e
