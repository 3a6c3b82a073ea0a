"""Ways to score the same images, side by side: in turns, in changing order, with medians.

Whatever else the machine does weighs on all of them; ratios are of the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from fakescan.bench.clock import Span

Score = Callable[[NDArray[np.uint8]], float]
"""A square (S, S, 3) -> its logit."""
Progress = Callable[[int, int], None]
"""Called with the rounds that are done and the rounds in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one contender did."""

    name: str
    rounds: tuple[float, ...]
    """Seconds per image."""
    processor: tuple[float, ...]
    """Seconds of processor time of this process per image, all threads; on a busy machine steadier
    than the clock on the wall."""
    ratios: tuple[float, ...]
    """How many times faster than the first contender, in each round."""
    drift_max: float | None = None
    """Largest |logit difference| from the first contender; None for what gives no logits."""
    drift_mean: float | None = None
    """The mean."""

    @property
    def images_per_s(self) -> float:
        """In the median round."""
        return 1 / median(self.rounds)

    @property
    def processor_ms(self) -> float:
        """The median, in milliseconds per image."""
        return median(self.processor) * 1e3

    @property
    def ratio(self) -> float:
        """The median."""
        return median(self.ratios)


def in_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    images: int,
    progress: Progress = lambda _done, _all: None,
) -> dict[str, list[Span]]:
    """Seconds per image of each, on all clocks; a first round warms up and does not count.

    Args:
        runs: each scores all images once.
        rounds: that count.
        images: that each run scores.
        progress: called after each round.
    """
    seconds: dict[str, list[Span]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        progress(number, rounds + 1)
        for name in list(runs) if number % 2 else reversed(list(runs)):
            start = Span.now()
            runs[name]()
            if number:
                seconds[name].append((Span.now() - start) / images)
    progress(rounds + 1, rounds + 1)
    return seconds


def drifts(
    scores: Mapping[str, Score], squares: Sequence[NDArray[np.uint8]]
) -> dict[str, tuple[float, float]]:
    """Largest and mean |logit difference| of each contender from the first."""
    logits = {name: np.array([score(x) for x in squares]) for name, score in scores.items()}
    base = next(iter(logits.values()))
    away = {name: np.abs(values - base) for name, values in logits.items()}
    return {name: (float(d.max()), float(d.mean())) for name, d in away.items()}


def compare(
    scores: Mapping[str, Score],
    others: Mapping[str, Callable[[], object]],
    squares: Sequence[NDArray[np.uint8]],
    probes: Sequence[NDArray[np.uint8]],
    rounds: int,
    progress: Progress = lambda _done, _all: None,
) -> list[Result]:
    """Measure; the fastest comes first.

    Args:
        scores: ways to score a square; the first is what the others are compared with.
        others: what does something else with the same images, such as decoding them.
        squares: (S, S, 3) each, one of each image.
        probes: squares on which logits are compared.
        rounds: that count.
        progress: called after each round.
    """

    def run_all(score: Score) -> Callable[[], object]:
        return lambda: [score(square) for square in squares]

    away = drifts(scores, probes)
    runs = {name: run_all(score) for name, score in scores.items()} | dict(others)
    seconds = in_turns(runs, rounds, len(squares), progress)
    first = seconds[next(iter(scores))]
    results = [
        Result(
            name=name,
            rounds=tuple(span.wall_s for span in own),
            processor=tuple(span.process_s for span in own),
            ratios=tuple(a.wall_s / b.wall_s for a, b in zip(first, own, strict=True)),
            drift_max=away[name][0] if name in away else None,
            drift_mean=away[name][1] if name in away else None,
        )
        for name, own in seconds.items()
    ]
    return sorted(results, key=lambda result: median(result.rounds))
