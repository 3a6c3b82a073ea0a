"""The check of labelled images: read every file once, then say what is there and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fakescan.check.files import Facts, Reading, unreadable
from fakescan.check.likeness import Item, Likeness, compare
from fakescan.check.shares import ShareTable, share_tables
from fakescan.data.recognise import Layout
from fakescan.data.samples import Sample, subsample
from fakescan.errors import ConfigError, DatasetError
from fakescan.evaluate.audit import PER_LABEL, Audit, audit_properties


@dataclass(frozen=True, slots=True)
class Count:
    """Images of one place: readable or not."""

    split: str
    source: str
    generator: str
    """Empty for reals, unless a manifest says otherwise."""
    reals: int
    fakes: int


@dataclass(frozen=True, slots=True)
class Check:
    """What a set of labelled images is like."""

    layout: Layout
    counts: tuple[Count, ...]
    unreadable: tuple[tuple[str, str], ...]
    """Key and reason."""
    likeness: Likeness
    shares: tuple[ShareTable, ...]
    """Of readable images."""
    audit: Audit | None
    """None when only one class can be read, so that there is nothing to separate."""

    @property
    def images(self) -> int:
        """All samples, unreadable ones too."""
        return sum(c.reals + c.fakes for c in self.counts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is too much; None for what is only reported."""

    properties_auc: float | None = None
    """Of all file properties together, 0.5 to 1."""
    unreadable: int | None = None
    """Images that cannot be read."""
    duplicates: int | None = None
    """Files that are exact copies of another, one of each group not counted."""
    near_duplicates: int | None = None
    """Images that look like one of another split."""
    label_conflicts: int | None = None
    """Images that look like one of the other label, declared relations not counted."""

    def __post_init__(self) -> None:
        if self.properties_auc is not None and not 0.5 <= self.properties_auc <= 1:
            raise ConfigError(
                f"--max-properties-auc: need 0.5 (chance) to 1, got {self.properties_auc:g}"
            )


def check(layout: Layout, readings: Iterable[Reading], *, per_label: int = PER_LABEL) -> Check:
    """Say what labelled images are like.

    Args:
        layout: of the tree.
        readings: of every sample, keys being distinct.
        per_label: reals and fakes, chosen by a hash, that the AUC of file properties is of.
    """
    readings = tuple(readings)
    known = {r.sample.key: r.facts for r in readings if r.facts is not None}
    kept = [r.sample for r in readings if r.facts is not None]
    items = [Item(s, known[s.key].sha256, known[s.key].look) for s in kept]
    chosen = subsample(kept, per_label=per_label, seed=0)
    return Check(
        layout=layout,
        counts=_counts([r.sample for r in readings]),
        unreadable=unreadable(readings),
        likeness=compare(items),
        shares=share_tables([s.label for s in kept], [known[s.key] for s in kept]),
        audit=_audit(chosen, known),
    )


def exceeded(found: Check, limits: Limits) -> tuple[str, ...]:
    """A line for every limit that is exceeded.

    Raises:
        DatasetError: a limit on the AUC, and no AUC.
    """
    if limits.properties_auc is not None and found.audit is None:
        raise DatasetError("--max-properties-auc: needs readable images of both classes")
    auc = found.audit.together.value if found.audit else 0.0
    likeness = found.likeness
    measured = (
        ("AUC of file properties", "--max-properties-auc", auc, limits.properties_auc),
        ("unreadable images", "--max-unreadable", len(found.unreadable), limits.unreadable),
        ("exact copies", "--max-duplicates", spare_copies(likeness), limits.duplicates),
        (
            "images like one of another split",
            "--max-near-duplicates",
            likeness.across_splits.images,
            limits.near_duplicates,
        ),
        (
            "images like one of the other label",
            "--max-label-conflicts",
            likeness.across_labels.undeclared,
            limits.label_conflicts,
        ),
    )
    return tuple(
        f"{what}: {value:.4g}, more than {option} {limit:g} allows"
        for what, option, value, limit in measured
        if limit is not None and value > limit
    )


def spare_copies(likeness: Likeness) -> int:
    """Files that are exact copies of another, one of each group not counted."""
    return sum(copies.spare for copies in likeness.copies)


def _counts(samples: Sequence[Sample]) -> tuple[Count, ...]:
    counts = Counter((s.split, s.source, s.generator, s.label) for s in samples)
    places = sorted({place[:3] for place in counts})
    return tuple(Count(*place, counts[*place, 0], counts[*place, 1]) for place in places)


def _audit(samples: Sequence[Sample], facts: dict[str, Facts]) -> Audit | None:
    if {s.label for s in samples} != {0, 1}:
        return None
    return audit_properties(samples, [np.array(facts[s.key].properties) for s in samples])
