"""Data roots -> training and validation samples with distinct keys."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fakescan.data.groups import Split, hold_out
from fakescan.data.samples import Sample, read_samples, require_both_classes


def read_roots(roots: Sequence[Path], splits: tuple[str, ...]) -> list[Sample]:
    """Samples of all roots; where two share a key, the later one's root goes before it.

    With several roots, a root whose images have no source is a source.
    """
    samples: list[Sample] = []
    taken: set[str] = set()
    for number, root in enumerate(roots):
        name = root.resolve().name
        for sample in read_samples(root, split=splits or None):
            key = sample.key
            if key in taken:
                key = f"{name}/{key}"
            if key in taken:
                key = f"{number}:{key}"
            taken.add(key)
            source = sample.source or (name if len(roots) > 1 else "")
            samples.append(replace(sample, key=key, source=source))
    require_both_classes(samples, ", ".join(map(str, roots)))
    return samples


def split_samples(
    samples: Sequence[Sample], fraction: float, seed: int, sources: tuple[str, ...]
) -> Split:
    """Hold out whole groups, or nothing.

    Args:
        samples: with distinct keys.
        fraction: of each label's images; 0, without sources, holds out nothing.
        seed: decides among the groups.
        sources: globs of the sources to hold out instead.
    """
    if not fraction and not sources:
        return Split(list(samples), [], False, "nothing held out")
    return hold_out(samples, fraction=fraction or 0.2, seed=seed, sources=sources or None)


def write_unreadable(path: Path, rows: Iterable[tuple[Sample, str]]) -> None:
    """List the images that could not be read, and why."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "reason"))
        table.writerows((str(sample.path), reason) for sample, reason in rows)
