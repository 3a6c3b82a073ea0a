"""The vocabulary that every layer shares: verdicts, thresholds, findings, summaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import ConfigError


class Verdict(StrEnum):
    """What a scan says of one image."""

    REAL = "real"
    UNCERTAIN = "uncertain"
    FAKE = "fake"
    ERROR = "error"


FLAGGED = frozenset((Verdict.FAKE, Verdict.UNCERTAIN))
"""Verdicts of flagged images, unless a scan is told otherwise: what may well be no photograph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """From logit to calibrated probability of fake: sigmoid(slope * logit + intercept).

    Source: Platt, "Probabilistic outputs for support vector machines" (1999).
    """

    slope: float = 1.0
    """Factor on the logit; positive."""
    intercept: float = 0.0
    """Added after the factor."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope > 0):
            raise ConfigError(
                f"calibration: slope must be positive and both finite, "
                f"got {self.slope} and {self.intercept}"
            )

    def score(self, logit: float) -> float:
        """Calibrated probability of fake in [0, 1] of one logit."""
        x = self.slope * logit + self.intercept
        if x >= 0:
            return 1 / (1 + math.exp(-x))
        e = math.exp(x)
        return e / (1 + e)


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """The two thresholds that turn a score into a verdict."""

    t_fake: float = 0.5
    """Fake at `score >= t_fake`."""
    t_real: float = 0.5
    """Real at `score < t_real`; never above `t_fake`."""

    def __post_init__(self) -> None:
        if not 0 <= self.t_real <= self.t_fake <= 1:
            raise ConfigError(
                f"thresholds: need 0 <= t_real <= t_fake <= 1, "
                f"got t_real {self.t_real} and t_fake {self.t_fake}"
            )

    def verdict(self, score: float) -> Verdict:
        """Verdict of a score in [0, 1]."""
        if score >= self.t_fake:
            return Verdict.FAKE
        return Verdict.REAL if score < self.t_real else Verdict.UNCERTAIN


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a scan found out about one image: its scores, or the reason there are none."""

    path: str
    """As given or met in the walk; bytes that are not UTF-8 are surrogate-escaped."""
    verdict: Verdict
    score: float | None = None
    """Calibrated probability of fake, [0, 1]."""
    logit: float | None = None
    """The detector's raw output."""
    width: int | None = None
    """Pixels, after EXIF orientation."""
    height: int | None = None
    """Pixels, after EXIF orientation."""
    format: str | None = None
    """What the bytes say, such as JPEG; not the suffix."""
    error: str | None = None
    """Why there is no score, in one line."""
    detector: str = ""
    """Name and first 12 hex digits of the sha256 of the detector."""
    sha256: str | None = None
    """Of the file's content, in hex; only when the scan was asked for it."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """A small WebP of the image; only when the scan was asked for it."""
    provenance: str | None = None
    """What the file says how it came about: generated, composite, captured or undecided; None
    when it says nothing. Never part of the score."""
    provenance_detail: str | None = None
    """Where the file says so, and what, in one line."""
    perturbed: tuple[tuple[str, float], ...] = ()
    """Scores under perturbations by name, such as jpeg:75; only when the scan was asked."""
    figure: bytes | None = field(default=None, repr=False)
    """A PNG that explains the score; only when the scan was asked for it."""
    figure_link: str | None = None
    """Where a page beside that file finds it, as a relative URL."""
    generator: str | None = None
    """That made it, as an attributor says, or `unknown`; None for a real, and when the scan was
    not asked."""
    generator_score: float | None = None
    """Probability in [0, 1] that, of all that the attributor knows, the likeliest made it."""
    known_generators: tuple[str, ...] = ()
    """All that the attributor knows; empty when the scan was not asked."""
    stable: bool | None = None
    """True when the verdict is the same under every perturbation; None without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One part of a scan that is split."""

    number: int
    """From 1."""
    count: int
    """Of all shards."""

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(slots=True)
class Listing:
    """All that a scan's shards found together, whichever takes it."""

    count: int = 0
    """Images and archives."""
    digest: int = 0
    """128 bits that depend on their paths, and not on the order."""
    is_whole: bool = True
    """False when a listing broke off."""


@dataclass(slots=True)
class Summary:
    """Counts of a scan; grows as findings stream by and is whole at the end."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """Findings by verdict."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Files that were met and not opened, by reason."""
    cached: int = 0
    """Findings whose score was known."""
    warnings: list[str] = field(default_factory=list)
    """What went wrong beside the images, each in one line."""
    elapsed_s: float = 0.0
    """Wall-clock seconds of the scan."""
    listing: Listing | None = None
    """Of all shards; None for a scan that is not split."""
    is_complete: bool = False
    """False while it runs and after an interruption."""
    progress: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Called for each image that is through, also one that is then left out as known."""

    def follow(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """Pass findings on and tell that they are through."""
        for finding in findings:
            self.progress()
            yield finding

    def watch(self, findings: Iterable[Finding]) -> Iterable[Finding]:
        """Pass findings on and count them."""
        for finding in findings:
            self.verdicts[finding.verdict] += 1
            yield finding

    @property
    def images(self) -> int:
        """All findings, errors included."""
        return self.verdicts.total()

    @property
    def scored(self) -> int:
        """Findings with a score."""
        return self.images - self.verdicts[Verdict.ERROR]


class Scorer(Protocol):
    """Anything that gives logits for crops: the torch model, the ONNX graph, a stub-free test."""

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, S, S, 3) RGB crops as `fakescan.image.view` makes them -> (B,) logits of fake."""
        ...


def mean_logits(scorer: Scorer, looks: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """The logit of each image: the mean over its squares, (B,).

    Args:
        scorer: scores squares.
        looks: the squares of each image as `fakescan.image.views` cuts them, (K, S, S, 3); K may
            differ.
    """
    if not looks:
        return np.empty(0, np.float32)
    logits = scorer.logits(np.concatenate(looks))
    ends = np.cumsum([len(look) for look in looks])[:-1]
    means = [part.mean(dtype=np.float64) for part in np.split(logits, ends)]
    return np.array(means, np.float32)
