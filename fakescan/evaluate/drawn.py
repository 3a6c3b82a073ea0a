"""What a bootstrap resample draws together: groups of images that depend on one another.

A group is a connected set of images that share their content: the members of an aligned pair, an
image and what was derived from it (`Sample.pair`, `Sample.derived_from`). An image that shares
nothing is a group of its own. Groups are drawn within strata, so that every resample has about as
many images of each source and label as the data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.data.groups import content_groups
from fakescan.data.samples import Sample
from fakescan.evaluate.intervals import RESAMPLES, draw_counts
from fakescan.evaluate.metrics import Weights

BLOCK = 128
"""Weightings expanded at a time, so that memory does not grow with resamples times images."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """How often each group is drawn: the data as they are first, then every resample."""

    group: NDArray[np.int_]
    """The group of each image, (N,)."""
    times: NDArray[np.uint16]
    """(1 + S, G)."""

    @classmethod
    def draw(cls, samples: Sequence[Sample], resamples: int = RESAMPLES, seed: int = 0) -> Drawn:
        """Draw groups of these samples; the same seed gives the same draws."""
        group = np.unique(content_groups(samples), return_inverse=True)[1]  # (N,)
        strata = np.unique(_strata(samples, group), return_inverse=True)[1]  # (G,)
        drawn = draw_counts(strata, resamples, seed)
        return cls(group, np.vstack([np.ones((1, len(strata)), np.uint16), drawn]))

    @property
    def blocks(self) -> int:
        """How many times `weights` can be asked."""
        return -(-len(self.times) // BLOCK)

    def weights(self, block: int, places: NDArray[np.int_]) -> Weights:
        """Weightings of the images at these places, (up to `BLOCK`, n)."""
        times = self.times[block * BLOCK : (block + 1) * BLOCK]
        return times[:, self.group[places]].astype(np.float64)


def _strata(samples: Sequence[Sample], group: NDArray[np.int_]) -> list[str]:
    """The stratum of each group, (G,): the sources and labels of its images.

    A mixture that only one group has would be drawn once in every resample, as if it were certain;
    such groups are drawn among those of their first image's source and label.
    """
    members: dict[int, list[str]] = {}
    for sample, number in zip(samples, group.tolist(), strict=True):
        members.setdefault(number, []).append(f"{sample.label} {sample.source}")
    mixtures = {number: "\n".join(sorted(set(names))) for number, names in members.items()}
    counts = Counter(mixtures.values())
    return [
        mixtures[number] if counts[mixtures[number]] > 1 else members[number][0]
        for number in range(len(members))
    ]
