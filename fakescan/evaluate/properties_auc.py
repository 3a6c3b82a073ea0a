"""How far the files' properties alone tell each row's fakes from its reals.

The check that belongs beside every figure: `fakescan.evaluate.audit.nearest_fakes` on the same
images as the row, so that a leak of file format, size or compression shows. 0.5 is chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fakescan.data.samples import subsample
from fakescan.evaluate.audit import nearest_fakes
from fakescan.evaluate.benchmark import ScoreTable, places_of
from fakescan.evaluate.drawn import Drawn
from fakescan.evaluate.intervals import UNKNOWN, Estimate, bounded
from fakescan.evaluate.metrics import Weights, weighted_auc
from fakescan.evaluate.pairing import Comparison

MOST = 1000
"""Images of either class that a row's figure is made of; distances grow with their square."""


@dataclass(frozen=True, slots=True)
class PropertiesAuc:
    """The AUC of file properties, with intervals."""

    rows: Mapping[str, Estimate] = field(default_factory=dict)
    """By the row's name."""
    mean: Estimate = UNKNOWN
    """Over rows."""


def properties_auc(
    table: ScoreTable,
    values: NDArray[np.float64],
    comparisons: Sequence[Comparison],
    drawn: Drawn,
) -> PropertiesAuc:
    """The figure of every row that the table has.

    Args:
        table: which images there are.
        values: properties of their files, (N, P).
        comparisons: what meets what.
        drawn: resamples of the table's images.
    """
    labels = np.array([s.label for s in table.samples])
    found: dict[str, Weights] = {}
    for comparison in comparisons:
        places = places_of(table, comparison)
        if places is not None:
            places = _fewer(table, places)
            own = labels[places]
            scores = nearest_fakes(own, values[places])
            blocks = (drawn.weights(i, places) for i in range(drawn.blocks))
            found[comparison.name] = np.concatenate(
                [weighted_auc(own, scores, weights) for weights in blocks]
            )
    rows = {name: bounded(float(v[0]), v[1:]) for name, v in found.items()}
    mean = np.mean(list(found.values()), axis=0)
    return PropertiesAuc(rows, bounded(float(mean[0]), mean[1:]))


def _fewer(table: ScoreTable, places: NDArray[np.int_]) -> NDArray[np.int_]:
    """At most `MOST` of either class, chosen by a hash."""
    at = {table.samples[i].key: i for i in places.tolist()}
    kept = subsample((table.samples[i] for i in places.tolist()), per_label=MOST, seed=0)
    return np.array(sorted(at[s.key] for s in kept))
