"""Which known collection a labelled tree is laid out as, by its folders' names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from fakescan.data.layouts import SPLITS, genimage_name
from fakescan.data.samples import Sample

FORENSYNTHS = frozenset(
    (
        "progan",
        "stylegan",
        "biggan",
        "cyclegan",
        "stargan",
        "gaugan",
        "crn",
        "imle",
        "seeingdark",
        "san",
        "deepfake",
        "stylegan2",
        "whichfaceisreal",
    )
)
"""Test folders of CNNDetection, which UnivFD uses too."""
DIFFUSION = frozenset(
    (
        "guided",
        "ldm_200",
        "ldm_200_cfg",
        "ldm_100",
        "glide_100_27",
        "glide_50_27",
        "glide_100_10",
        "dalle",
        "laion",
    )
)
"""Folders of UnivFD's `diffusion_datasets`."""
CDDB = frozenset((*FORENSYNTHS, "wild", "glow", "stargan_gf"))
SETS = frozenset(("lsun_bedroom", "imagenet", "celebahq"))
"""Sets of reals in DiffusionForensics."""
TRAINING = frozenset(
    (
        "airplane",
        "bird",
        "bicycle",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "cow",
        "chair",
        "diningtable",
        "dog",
        "person",
        "pottedplant",
        "motorbike",
        "tvmonitor",
        "train",
        "sheep",
        "sofa",
        "horse",
    )
)
"""ProGAN's classes, folders of CNNDetection's and UnivFD's training images."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a tree is laid out as."""

    name: str
    example: str
    """The folder that says so, relative to the root; empty for a manifest."""


def recognise(root: Path, samples: Iterable[Sample]) -> Layout:
    """Name the layout of labelled images: the first known one that any of their folders is of.

    Args:
        root: that they were read from.
        samples: at least one.
    """
    if root.is_file() or (root / "manifest.csv").is_file():
        return Layout("manifest", "")
    folders = sorted({PurePosixPath(s.key).parent for s in samples})
    top = root.resolve().name
    for name, is_of in _LAYOUTS:
        for folder in folders:
            if is_of([top.lower(), *(part.lower() for part in folder.parts)]):
                return Layout(name, folder.as_posix())
    return Layout("plain folders", folders[0].as_posix())


def _is_diffusion_forensics(parts: Sequence[str]) -> bool:
    return any(
        image == "images" and split in SPLITS and kind in SETS
        for image, split, kind in zip(parts, parts[1:], parts[2:], strict=False)
    )


def _is_genimage(parts: Sequence[str]) -> bool:
    return bool({"ai", "nature"} & set(parts)) and any(map(genimage_name, parts))


def _is_cddb(parts: Sequence[str]) -> bool:
    # Only the first folder that may be a split is one: ProGAN has a class called train.
    at = next((i for i, part in enumerate(parts) if part in SPLITS), 0)
    return _is_binary(parts) and at > 0 and parts[at - 1] in CDDB


def _is_univfd(parts: Sequence[str]) -> bool:
    return _is_binary(parts) and bool(DIFFUSION & set(parts) or "diffusion_datasets" in parts)


def _is_cnndetection(parts: Sequence[str]) -> bool:
    is_training = any(split in SPLITS and kind in TRAINING for split, kind in pairwise(parts))
    return _is_binary(parts) and (is_training or bool(FORENSYNTHS & set(parts)))


def _is_binary(parts: Sequence[str]) -> bool:
    return bool({"0_real", "1_fake"} & set(parts))


_LAYOUTS: tuple[tuple[str, Callable[[Sequence[str]], bool]], ...] = (
    ("DiffusionForensics", _is_diffusion_forensics),
    ("GenImage", _is_genimage),
    ("CDDB", _is_cddb),
    ("UnivFD", _is_univfd),
    ("CNNDetection", _is_cnndetection),
)
