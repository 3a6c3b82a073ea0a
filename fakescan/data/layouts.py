"""Folder names -> labels: how the known collections lay out their images.

    CNNDetection, UnivFD, CDDB   <generator>/[<class>/]{0_real,1_fake}/
    GenImage                     <generator>/[imagenet_.../]{train,val}/{nature,ai}/
    DiffusionForensics           images/{train,val,test}/<set>/{real,<generator>,...}/
    anything else                images take the label of the nearest folder that names one

Source: the READMEs of these collections.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from fakescan.errors import DatasetError

LEAVES = {"0_real": 0, "1_fake": 1, "real": 0, "fake": 1, "nature": 0, "ai": 1}
FAKE_LEAVES = frozenset(name for name, label in LEAVES.items() if label)
SPLITS = frozenset(("train", "val", "valid", "validation", "test", "dev"))
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif")
)
MAX_DEPTH = 6
"""Folders below the root at which a label is still looked for."""

GENIMAGE = {
    "adm": "ADM",
    "biggan": "BigGAN",
    "glide": "glide",
    "midjourney": "Midjourney",
    "sdv4": "Stable Diffusion V1.4",
    "sdv5": "Stable Diffusion V1.5",
    "stablediffusionv14": "Stable Diffusion V1.4",
    "stablediffusionv15": "Stable Diffusion V1.5",
    "vqdm": "VQDM",
    "wukong": "wukong",
}
"""GenImage's folder names, bare, to the names of its README."""
_GENIMAGE_PREFIX = re.compile(r"^imagenet_(ai_\d{4}_)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a folder's place says about the images in it."""

    label: int
    """0 real, 1 fake."""
    split: str
    source: str
    generator: str
    """Empty for reals."""


def walk_labelled(root: Path) -> Iterator[tuple[Path, Leaf]]:
    """Yield every image file below a labelled folder, in an order that names alone decide.

    Links are followed, except back into a folder that contains them.
    """
    return _walk(root, (), None, frozenset())


def leaf_of(parts: Sequence[str], label: int) -> Leaf:
    """Read split, source and generator off the folders above a file.

    Args:
        parts: folders from the root down; the label's own folder and what lies below it are
            no part of the source.
        label: known from elsewhere, such as a manifest.
    """
    is_leaf = [part.lower() in LEAVES for part in parts]
    end = len(parts) - is_leaf[::-1].index(True) - 1 if any(is_leaf) else len(parts)
    return _leaf(parts[:end], label)


def below_leaf(parts: Sequence[str]) -> tuple[str, ...]:
    """The folders of a file without those that name a label."""
    return tuple(part for part in parts if part.lower() not in LEAVES)


def _leaf(above: Sequence[str], label: int, sibling: str = "") -> Leaf:
    split = next((part for part in above if part.lower() in SPLITS), "")
    source = [*above, sibling] if sibling else list(above)
    if split:
        source.remove(split)
    known = (genimage_name(part) for part in source)
    generator = next(filter(None, known), sibling or next(iter(source), ""))
    return Leaf(label, split, "/".join(source), generator if label else "")


def genimage_name(folder: str) -> str:
    """The generator that a folder of GenImage is called after, as its README writes it, or ""."""
    return GENIMAGE.get(bare_name(folder), "")


def bare_name(folder: str) -> str:
    """A folder's name in small letters and digits alone, without what GenImage puts in front."""
    return re.sub(r"[^a-z0-9]", "", _GENIMAGE_PREFIX.sub("", folder).lower())


def _walk(
    folder: Path, parts: tuple[str, ...], leaf: Leaf | None, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[Path, Leaf]]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    folders, files = _list(folder)
    if leaf is not None:
        yield from ((folder / name, leaf) for name in files)
    elif len(parts) >= MAX_DEPTH:
        return
    for name in folders:
        below = _enter(name, parts, leaf, folders)
        yield from _walk(folder / name, (*parts, name), below, above | {identity})


def _enter(
    name: str, parts: tuple[str, ...], leaf: Leaf | None, siblings: Sequence[str]
) -> Leaf | None:
    """The leaf that a sub-folder's images belong to."""
    if len(parts) >= MAX_DEPTH:
        return leaf
    if name.lower() in LEAVES:
        return _leaf(parts, LEAVES[name.lower()])
    names = {sibling.lower() for sibling in siblings}
    if leaf is None and "real" in names and not names & FAKE_LEAVES:
        return _leaf(parts, 1, sibling=name)
    return leaf


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of sub-folders and of image files."""
    try:
        with os.scandir(folder) as entries:
            kinds = [(entry.name, _is_folder(entry)) for entry in entries]
    except OSError as e:
        raise DatasetError(f"{folder}: cannot be listed ({e.strerror})") from e
    visible = sorted((name, is_dir) for name, is_dir in kinds if not name.startswith("."))
    folders = [name for name, is_dir in visible if is_dir]
    if "images" in folders and {"recons", "dire"} & set(folders):
        folders = ["images"]  # DiffusionForensics keeps derived images beside the images
    files = [name for name, is_dir in visible if not is_dir and is_image_name(name)]
    return folders, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # A link is asked through Path, which takes one that leads nowhere for no folder.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry).is_dir())


def is_image_name(name: str) -> bool:
    """True for a file that is called like an image."""
    return PurePath(name).suffix.lower() in SUFFIXES  # the last one: a.b.JPG is an image
