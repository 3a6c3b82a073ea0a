"""Labelled trees -> tasks in order, each with images to learn from and images to be judged by.

    --folders DIR    DIR/TASK/[train|test/]{real,GENERATOR,...}/, or 0_real/1_fake, or a manifest
    --cddb ROOT      ROOT/GENERATOR/{train,val}/[CLASS/]{0_real,1_fake}/

Torch-free. Source: the scenarios, Li et al., "A Continual Deepfake Detection Benchmark", arXiv
2205.05467, with the orders and the folders that LoRAX (arXiv 2504.08149) runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fakescan.data.samples import Sample, rank, read_samples
from fakescan.errors import DatasetError

Scenario = Literal["easy", "hard", "long"]
CDDB: dict[Scenario, tuple[str, ...]] = {
    "easy": ("gaugan", "biggan", "cyclegan", "imle", "deepfake", "crn", "wild"),
    "hard": ("gaugan", "biggan", "wild", "whichfaceisreal", "san"),
    "long": (
        "gaugan", "biggan", "cyclegan", "imle", "deepfake", "crn", "wild", "glow", "stargan_gf",
        "stylegan", "whichfaceisreal", "san",
    ),
}  # fmt: skip
TESTS = frozenset(("test", "val", "valid", "validation"))
"""Splits that are judged on."""
REAL = "real"
LEAST = 2
"""Images of a class on each side."""


@dataclass(frozen=True, slots=True)
class TaskImages:
    """One task of a scenario."""

    name: str
    classes: tuple[str, ...]
    """`real` first, if there are reals."""
    train: tuple[tuple[Sample, int], ...]
    """With the index of the class."""
    test: tuple[tuple[Sample, int], ...]


def read_folders(root: Path, test_share: float, seed: int) -> list[TaskImages]:
    """A task for each folder of a tree, in order of names.

    Args:
        root: the tree, or a manifest.
        test_share: of each class is judged on, where folders name no split.
        seed: decides which.

    Raises:
        DatasetError: no labelled images, a first task without reals, or too few of a class.
    """
    samples = read_samples(root)
    names = sorted({s.key.split("/")[0] for s in samples})
    if len(names) < 2:
        raise DatasetError(f"{root}: one task only; a folder for each task is expected")
    return [
        _task(name, (s for s in samples if s.key.split("/")[0] == name), test_share, seed)
        for name in names
    ]


def read_cddb(root: Path, scenario: Scenario, test_share: float, seed: int) -> list[TaskImages]:
    """The tasks of one of CDDB's scenarios, in its order.

    Raises:
        DatasetError: folders are missing, all of which are named.
    """
    names = CDDB[scenario]
    missing = [name for name in names if not (root / name).is_dir()]
    if missing:
        raise DatasetError(f"{root}: scenario {scenario} lacks the folders {', '.join(missing)}")
    tasks = []
    for name in names:
        samples = read_samples(root / name)
        named = (
            replace(s, generator=name if s.label else "", key=f"{name}/{s.key}") for s in samples
        )
        tasks.append(_task(name, named, test_share, seed))
    return tasks


def _task(name: str, samples: Iterable[Sample], test_share: float, seed: int) -> TaskImages:
    by_class: dict[str, list[Sample]] = {}
    for sample in samples:
        label = (sample.generator or name) if sample.label else REAL
        by_class.setdefault(label, []).append(sample)
    classes = tuple(sorted(by_class, key=lambda c: (c != REAL, c)))
    if classes in ((REAL,), ()):
        raise DatasetError(f"{name}: no fakes in it")
    train: list[tuple[Sample, int]] = []
    test: list[tuple[Sample, int]] = []
    for index, label in enumerate(classes):
        own = split(by_class[label], test_share, seed)
        for part, found in zip((train, test), own, strict=True):
            if len(found) < LEAST:
                raise DatasetError(
                    f"{name}: {len(by_class[label])} images of {label!r} are too few to learn from "
                    "some and judge by others"
                )
            part += [(s, index) for s in found]
    return TaskImages(name, classes, tuple(train), tuple(test))


def split(
    samples: Sequence[Sample], test_share: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Those to learn from, and those to judge by: as folders say, else by a hash."""
    test = [s for s in samples if s.split in TESTS]
    if test and len(test) < len(samples):
        return [s for s in samples if s.split not in TESTS], test
    ranked = sorted(samples, key=lambda s: rank(s.key, seed))
    count = max(LEAST, round(test_share * len(ranked)))
    return ranked[count:], ranked[:count]
