"""Data roots -> training and validation samples with distinct keys."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fakescan.data.groups import Split, hold_out
from fakescan.data.samples import Sample, of_splits, read_samples, require_both_classes
from fakescan.data.shards import base_of, is_shards
from fakescan.places.uri import is_uri, shown
from fakescan.train.shards import ShardIndexer


def read_roots(
    roots: Sequence[str], splits: tuple[str, ...], indexer: ShardIndexer
) -> list[Sample]:
    """Samples of all roots; where two share a key, the later one's root goes before it.

    With several roots, a root whose images have no source is a source. Shards of one folder are
    one root.

    Args:
        roots: folders, manifests, and tar shards or patterns of them.
        splits: only these, where the data name splits.
        indexer: looks into shards.
    """
    samples: list[Sample] = []
    taken: set[str] = set()
    parts = _parts(roots)
    for number, part in enumerate(parts):
        name = _name(part)
        for sample in _samples(part, splits or None, indexer):
            key = sample.key
            if key in taken:
                key = f"{name}/{key}"
            if key in taken:
                key = f"{number}:{key}"
            taken.add(key)
            source = sample.source or (name if len(parts) > 1 else "")
            samples.append(replace(sample, key=key, source=source))
    require_both_classes(samples, ", ".join(shown(str(root)) for root in roots))
    return samples


def _parts(roots: Sequence[str]) -> list[list[str]]:
    """Roots one by one, but for shards of the same folder."""
    found: dict[str, list[str]] = {}
    for root in map(str, roots):
        found.setdefault(f"{base_of(root)}/" if is_shards(root) else root, []).append(root)
    return list(found.values())


def _name(part: Sequence[str]) -> str:
    root = part[0]
    if not is_shards(root):
        return Path(root).resolve().name
    base = base_of(root)
    return base.rpartition("/")[2] if is_uri(root) else Path(base).resolve().name


def _samples(
    part: Sequence[str], split: tuple[str, ...] | None, indexer: ShardIndexer
) -> list[Sample]:
    root = part[0]
    if not is_shards(root):
        return read_samples(Path(root), split=split)
    return of_splits(indexer.samples(part), split, shown(root))


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
        table.writerows((sample.place, reason) for sample, reason in rows)
