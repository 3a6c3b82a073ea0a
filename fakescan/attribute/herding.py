"""Which images of a class stand for it: those whose running mean stays nearest the class's mean.

Source: Rebuffi et al., "iCaRL: Incremental Classifier and Representation Learning", arXiv
1611.07725, algorithm 4, in the form that LoRAX runs: features of length 1, w = mu, then again
and again the image with the largest w . f and w += mu - f; one that is picked twice adds nothing.
Differs from it: where 1,000 rounds pick too few, the rest follows by w . f.

Shapes: n images of one class, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_ROUNDS = 1000


def herd(features: NDArray[np.floating], count: int) -> list[int]:
    """Indices of the first `count` images in herding order; all of them where there are fewer.

    Args:
        features: (n, F), any length.
        count: wanted.
    """
    count = min(count, len(features))
    if count == 0:
        return []
    rows = features.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    inner = rows @ rows.T  # (n, n): rounds need inner products only
    towards = inner.mean(axis=1)  # (n,): mu . f
    state = towards.copy()  # (n,): w . f
    chosen: dict[int, None] = {}
    for _ in range(MAX_ROUNDS):
        best = int(state.argmax())
        chosen[best] = None
        if len(chosen) == count:
            break
        state += towards - inner[best]
    rest = sorted(range(len(rows)), key=lambda i: -float(state[i]))
    return [*chosen, *(i for i in rest if i not in chosen)][:count]


def quota(memory: int, classes: int) -> int:
    """Exemplars that each class may keep: floor(M / C)."""
    return memory // classes if classes else 0
