"""DALL-E 2's images for table 3: which folder they are in is documented nowhere, so it is found.

The paper took them from DiffusionForensics and does not say which reals they met. Here they meet,
in this order: reals in the same folder; those of the folder beside it, as DiffusionForensics has
them; GenImage's. What was used is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from fakescan.data.layouts import MAX_DEPTH, SPLITS, bare_name, is_image_name, walk_labelled
from fakescan.data.samples import Sample

DALLE2 = "DALLE2"
"""The column of table 3."""
BARE = "dalle2"
DERIVED = frozenset(("recons", "dire"))
"""Folders of DiffusionForensics that hold no images but what was made of them."""


def dalle2_images(root: Path, nature: Sequence[Sample]) -> tuple[list[Sample], list[Sample], str]:
    """Fakes, reals, and a line that says where they are from; all empty when there are none.

    Args:
        root: below which any folder counts that is called DALL-E 2, however it is written.
        nature: GenImage's reals, for want of better ones.
    """
    own: dict[int, list[Sample]] = {0: [], 1: []}
    beside: dict[Path, list[Sample]] = {}
    labelled: set[Path] = set()
    for path, leaf in walk_labelled(root):
        parts = path.parent.relative_to(root).parts
        if (folder := _folder(root, parts)) is not None:
            labelled.add(folder)
            own[leaf.label].append(_sample(path, root, leaf.label, leaf.source))
        elif not leaf.label and "real" in map(str.lower, parts) and not _is_left_out(parts):
            above = root.joinpath(*parts[: [p.lower() for p in parts].index("real")])
            beside.setdefault(above, []).append(_sample(path, root, 0, leaf.source))
    fakes = [*own[1], *_unlabelled(root, labelled)]
    folders = sorted({folder for s in fakes if (folder := _folder(root, _parts(s, root)))})
    siblings = [s for folder in folders for s in beside.get(folder.parent, ())]
    for reals, origin in (
        (own[0], "the same folder"),
        (siblings, "the folder real beside it"),
        (list(nature), "GenImage's val/nature"),
    ):
        if fakes and reals:
            where = ", ".join(folder.relative_to(root).as_posix() for folder in folders)
            return fakes, reals, f"DALL-E 2: fakes of {where}, reals of {origin}"
    return fakes, [], ""


def _folder(root: Path, parts: Sequence[str]) -> Path | None:
    """The folder called DALL-E 2 among these, or the root; None if there is none."""
    if _is_left_out(parts):
        return None
    for i in range(len(parts) - 1, -1, -1):
        if bare_name(parts[i]) == BARE:
            return root.joinpath(*parts[: i + 1])
    return root if bare_name(root.resolve().name) == BARE else None


def _is_left_out(parts: Sequence[str]) -> bool:
    """Training images, and what DiffusionForensics made of images."""
    lower = [part.lower() for part in parts]
    derived = any(a in DERIVED and b in SPLITS for a, b in pairwise(lower))
    return derived or "train" in lower


def _unlabelled(root: Path, labelled: set[Path]) -> Iterator[Sample]:
    """Images in folders called DALL-E 2 that no layout gives a label: they can only be fakes."""
    for folder, below, files in os.walk(root):
        path = Path(folder)
        parts = path.relative_to(root).parts
        below[:] = sorted(below) if len(parts) < MAX_DEPTH else []
        found = _folder(root, parts)
        if found is None or found in labelled:
            continue
        for name in sorted(files):
            if is_image_name(name) and not name.startswith("."):
                source = found.relative_to(root).as_posix()
                yield _sample(path / name, root, 1, source)


def _parts(sample: Sample, root: Path) -> Sequence[str]:
    return sample.path.parent.relative_to(root).parts


def _sample(path: Path, root: Path, label: int, source: str) -> Sample:
    key = path.relative_to(root).as_posix()
    generator = "DALL-E 2" if label else ""
    return Sample(path=path, key=key, label=label, source=source, generator=generator)
