"""What may make a calibration look better than it is, as far as that can be known from the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fakescan.calibrate.fit import MIN_SLOPE, Targets
from fakescan.calibrate.read import Images
from fakescan.data.duplicates import near_duplicates
from fakescan.data.groups import LAST, Grouping
from fakescan.data.samples import Sample
from fakescan.evaluate.audit import Audit
from fakescan.metadata import DetectorMetadata
from fakescan.records import Calibration

PROPERTIES_AUC = 0.7
"""Above it, file properties alone tell more of the classes than they should."""
SOURCES = 3
"""Of each class, so that cross-fitting can tell of unseen ones."""
SHOWN = 3
"""Names that a warning lists."""
RECORD = "calibration"
"""Where a detector's training record says what it was calibrated on anew."""


def warnings(
    images: Images,
    grouping: Grouping,
    audit: Audit,
    metadata: DetectorMetadata,
    targets: Targets,
) -> tuple[str, ...]:
    """One line for each doubt, the gravest first."""
    return (
        *_known_sources(images.samples, metadata),
        *_copies(images),
        *_properties(audit),
        *_few_sources(images.samples, grouping),
        *_shared_content(images.samples),
        *_coarse(images, targets),
    )


def useless(calibration: Calibration) -> Iterator[str]:
    """Of a fit that found nothing to calibrate."""
    if calibration.slope <= MIN_SLOPE:
        yield (
            "the detector's logits do not rise from your reals to your fakes: "
            "no threshold helps; train on such images instead"
        )


def _known_sources(samples: Sequence[Sample], metadata: DetectorMetadata) -> Iterator[str]:
    """Sources that the detector was trained or calibrated on."""
    record = metadata.training
    first, again = record.get("images", {}), record.get(RECORD, {})
    own = {s.source for s in samples} - {""}
    for counts, verb in (
        (first.get("train"), "trained"),
        (first.get("validation"), "first calibrated"),
        (again.get("images"), "calibrated before"),
    ):
        if common := sorted(own & _sources(counts)):
            yield (
                f"the detector was {verb} on sources of these names: {_listed(common)}; "
                "if they are the same images, all figures flatter"
            )


def _sources(counts: Any) -> set[str]:
    """Names in a training record: kind -> source -> images."""
    tables = counts.values() if isinstance(counts, dict) else ()
    return {name for table in tables if isinstance(table, dict) for name in table}


def _copies(images: Images) -> Iterator[str]:
    labels = images.labels
    by_digest: dict[str, set[int]] = {}
    for digest, label in zip(images.digests, labels.tolist(), strict=True):
        by_digest.setdefault(digest, set()).add(label)
    both = sorted(
        sample.key
        for sample, digest in zip(images.samples, images.digests, strict=True)
        if len(by_digest[digest]) == 2
    )
    if both:
        yield f"{_count(len(both), 'file')} with the same bytes in both classes: {_listed(both)}"
    repeated = len(images.digests) - len(by_digest)
    if repeated:
        yield f"{_count(repeated, 'exact copy', 'exact copies')} of another image: each counts"
    if near := _near_copies(images):
        fakes = _count(len(near), "fake looks", "fakes look")
        yield f"{fakes} like a copy of a real: {_listed(near)}"


def _near_copies(images: Images) -> list[str]:
    """Pairs of a fake and a real that look the same, one of each hash and class."""
    first: dict[tuple[int, int], int] = {}
    for place, (value, sample) in enumerate(zip(images.hashes, images.samples, strict=True)):
        first.setdefault((value, sample.label), place)
    places = sorted(first.values())
    found: dict[str, str] = {}
    for a, b in near_duplicates([images.hashes[i] for i in places]):
        one, other = sorted((images.samples[places[i]] for i in (a, b)), key=lambda s: s.label)
        is_same = images.digests[places[a]] == images.digests[places[b]]
        if (one.label, other.label) == (0, 1) and not is_same and not _share_content(one, other):
            found.setdefault(other.key, f"{other.key} of {one.key}")
    return sorted(found.values())


def _share_content(a: Sample, b: Sample) -> bool:
    names = [{s.key, s.pair, s.derived_from} - {""} for s in (a, b)]
    return bool(names[0] & names[1])


def _properties(audit: Audit) -> Iterator[str]:
    auc = audit.together
    if auc.value > PROPERTIES_AUC:
        best = audit.rows[0].name
        yield (
            f"file properties alone (size, format, compression; most of all {best}) tell your "
            f"classes apart with AUC {auc.value:.2f} [{auc.low:.2f}, {auc.high:.2f}]: the figures "
            "may speak of how the files were made"
        )


def _few_sources(samples: Sequence[Sample], grouping: Grouping) -> Iterator[str]:
    if grouping.kind == LAST:
        yield (
            "no sources are named (sub-folders, or a manifest with the column source): only near "
            "copies are kept together, so the figures tell nothing of other sources"
        )
        return
    for label, name in ((0, "reals"), (1, "fakes")):
        groups = {grouping.groups[s.key] for s in samples if s.label == label}
        if len(groups) < SOURCES:
            yield (
                f"the {name} come from {len(groups)} {grouping.kind}s only: "
                "the figures tell little of others"
            )


def _shared_content(samples: Sequence[Sample]) -> Iterator[str]:
    linked = sum(bool(s.pair or s.derived_from) for s in samples)
    if linked:
        images = _count(linked, "image shares its", "images share their")
        yield f"{images} content with others (pairs, derived): kept together in cross-fitting"


def _coarse(images: Images, targets: Targets) -> Iterator[str]:
    for label, share, name, goal in (
        (0, targets.max_false_positives, "reals", "--max-false-positives"),
        (1, targets.max_misses, "fakes", "--max-misses"),
    ):
        count = int(np.sum(images.labels == label))
        if share * count < 1:
            yield (
                f"{count} {name} cannot resolve {goal} {share:g}: the threshold lies beyond all "
                f"of them, and the true rate may be as high as {3 / count:.2g}"
            )


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _listed(names: Iterable[str]) -> str:
    shown = list(Counter(names))
    more = len(shown) - SHOWN
    return ", ".join(shown[:SHOWN]) + (f" and {more} more" if more > 0 else "")
