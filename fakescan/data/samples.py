"""Labelled folders and manifests -> samples.

A leaf folder names its label: `0_real`/`1_fake`, `real`/`fake`, `nature`/`ai`. What lies
between the root and the leaf is the sample's source. A manifest CSV has at least the columns
path and label; source, split, generator, pair and derived_from are used when present.

Source: spec of the layouts, CNNDetection, UnivFD, GenImage and DiffusionForensics READMEs.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fakescan.errors import DatasetError

LEAVES = {"0_real": 0, "1_fake": 1, "real": 0, "fake": 1, "nature": 0, "ai": 1}
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif")
)
LABELS = {"real": 0, "fake": 1, "0": 0, "1": 1, "0_real": 0, "1_fake": 1, "nature": 0, "ai": 1}
MAX_DEPTH = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One labelled image that has not been opened."""

    path: Path
    key: str
    """Path relative to the data's root, with `/`; names the sample in caches and seeds."""
    label: int
    """0 real, 1 fake."""
    source: str
    """Where it came from; what validation holds out together."""
    split: str = ""
    generator: str = ""
    pair: str = ""
    """Shared by a real and the fake made from it; empty outside aligned pairs."""
    derived_from: str = ""


def read_samples(root: Path, *, split: str | None = None) -> list[Sample]:
    """All samples of a tree or a manifest, sorted by key; nothing is opened.

    Args:
        root: a folder (its `manifest.csv` is used when there is one), or a manifest file.
        split: keep only manifest rows of this split.

    Raises:
        DatasetError: no such folder, a manifest without the needed columns, or no sample.
    """
    manifest = root if root.is_file() else root / "manifest.csv"
    if manifest.is_file():
        samples = [s for s in _from_manifest(manifest) if split is None or s.split == split]
    elif root.is_dir():
        samples = list(_from_tree(root))
    else:
        raise DatasetError(f"{root}: no such folder or manifest")
    if not samples:
        where = f"{root}, split {split!r}" if split else str(root)
        raise DatasetError(
            f"{where}: no labelled images; expected leaf folders 0_real/1_fake, real/fake or "
            "nature/ai, or a manifest.csv with the columns path and label"
        )
    return sorted(samples, key=lambda s: s.key)


def _from_manifest(manifest: Path) -> Iterator[Sample]:
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        missing = {"path", "label"} - set(rows.fieldnames or ())
        if missing:
            raise DatasetError(f"{manifest}: no column {', '.join(sorted(missing))}")
        for row in rows:
            label = LABELS.get(row["label"].strip().lower())
            if label is None:
                raise DatasetError(
                    f"{manifest}, line {rows.line_num}: label {row['label']!r}; known: real, fake"
                )
            key = PurePosixPath(row["path"]).as_posix()
            yield Sample(
                path=manifest.parent / row["path"],
                key=key,
                label=label,
                source=row.get("source") or _source(PurePosixPath(key)),
                split=row.get("split") or "",
                generator=row.get("generator") or "",
                pair=row.get("pair") or "",
                derived_from=row.get("derived_from") or "",
            )


def _from_tree(root: Path) -> Iterator[Sample]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        relative = PurePosixPath(Path(folder).relative_to(root).as_posix())
        if len(relative.parts) > MAX_DEPTH:
            folders.clear()
            continue
        label = next(
            (LEAVES[p.lower()] for p in reversed(relative.parts) if p.lower() in LEAVES), None
        )
        if label is None:
            continue
        for name in files:
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                key = (relative / name).as_posix()
                yield Sample(
                    path=Path(folder) / name, key=key, label=label, source=_source(relative / name)
                )


def _source(key: PurePosixPath) -> str:
    """The folders above the label's leaf; empty when the leaf lies at the root."""
    parts = key.parts[:-1]
    leaf = max((i for i, part in enumerate(parts) if part.lower() in LEAVES), default=len(parts))
    return "/".join(parts[:leaf])
