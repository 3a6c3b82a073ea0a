"""Logits of all known classes -> what is said of one image. NumPy only.

    p = softmax(logits / temperature)
    fake score        sum of p over the generators; the verdict is fake from 0.5 on
    generator score   the largest p of a generator: that this one made the image
    unknown           a fake whose generator score lies below the threshold

Rejecting what is unknown is not in the paper. The threshold is the score below which a stated
share of held-out images of known generators lies.

Shapes: n images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["real", "fake"]
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRecord:
    """One class that is known."""

    task: str
    """With which it was learnt."""
    kind: Kind
    name: str
    """Of the generator; `real` for reals."""
    images: int
    """It was learnt from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How logits are read."""

    temperature: float = 1.0
    """Divides logits before the softmax."""
    unknown_below: float = 0.0
    """Generator score in [0, 1] below which a fake's generator is unknown; 0: never."""
    false_unknown: float = 0.05
    """Share of known generators' held-out fakes that the threshold was to reject."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """What is said of one image."""

    verdict: Kind
    fake_score: float
    """Probability in [0, 1] that any known generator made it."""
    generator: str | None
    """The likeliest, or `unknown`; None for a real."""
    generator_score: float
    """Probability in [0, 1] of the likeliest generator, named or not."""
    margin: float
    """To the second generator; the score itself where only one is known."""
    ranked: tuple[tuple[str, float], ...]
    """All known generators with their probabilities, likeliest first."""


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Softmax over the last axis, (n, C) -> (n, C)."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True), np.float64)


def is_real(classes: Sequence[ClassRecord]) -> NDArray[np.bool_]:
    """Which classes are reals, (C,)."""
    return np.array([c.kind == "real" for c in classes], dtype=np.bool_)


def generators(classes: Sequence[ClassRecord]) -> tuple[str, ...]:
    """Names of the known generators, in the order in which they were learnt."""
    return tuple(c.name for c in classes if c.kind == "fake")


def read(
    logits: NDArray[np.floating], classes: Sequence[ClassRecord], rules: Rules
) -> list[Attribution]:
    """What is said of each image.

    Args:
        logits: (n, C), finite.
        classes: C of them, at least one generator.
        rules: how logits are read.
    """
    real = is_real(classes)
    names = generators(classes)
    found = []
    for row in probabilities(logits, rules.temperature):
        chances = row[~real]
        order = np.argsort(-chances, kind="stable")
        ranked = tuple((names[i], float(chances[i])) for i in order)
        best = ranked[0][1]
        fake = float(chances.sum())
        verdict: Kind = "fake" if fake >= 0.5 else "real"
        named = UNKNOWN if best < rules.unknown_below else ranked[0][0]
        found.append(
            Attribution(
                verdict=verdict,
                fake_score=fake,
                generator=named if verdict == "fake" else None,
                generator_score=best,
                margin=best - ranked[1][1] if len(ranked) > 1 else best,
                ranked=ranked,
            )
        )
    return found
