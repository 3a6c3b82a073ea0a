"""All images of a sequence of tasks in one order, and what the frozen backbone gives for them.

Shapes: N images, C classes, F0 frozen features, F1 features of one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.adapters import Extractors
from fakescan.attribute.answer import ClassRecord, Kind, is_real
from fakescan.attribute.book import open_trunks
from fakescan.attribute.lesson import Lesson
from fakescan.attribute.scenario import TaskImages
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.store import Opened
from fakescan.data.samples import Sample, rank
from fakescan.errors import DatasetError
from fakescan.train.prepare import Listener
from fakescan.train.settings import CacheConfig
from fakescan.train.trunk import Maker
from fakescan.train.trunks import Trunks, Unreadable
from fakescan.train.views import CENTRE, ViewPool


@dataclass(frozen=True, slots=True)
class Material:
    """Images with their trunks; the same for every order of the tasks."""

    tasks: tuple[TaskImages, ...]
    samples: tuple[Sample, ...]
    """Of all tasks, in their order: those to learn from, then those to be judged by."""
    unreadable: Unreadable
    maker: Maker
    trunks: Trunks
    empty: Extractors
    """Extractors of no task."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The tasks in one order; images are named by their place in `Material.samples`."""

    material: Material
    names: tuple[str, ...]
    """Of the tasks, in order."""
    classes: tuple[ClassRecord, ...]
    labels: NDArray[np.int_]
    """(N,); -1 for what cannot be read."""
    task: NDArray[np.int_]
    """Place of each image's task in the order, (N,)."""
    is_test: NDArray[np.bool_]
    """(N,)"""
    held_out: NDArray[np.bool_]
    """What adapters never see, (N,)."""
    frozen: NDArray[np.float32]
    """(N, F0 + F1); zeros for what cannot be read."""

    @property
    def real(self) -> NDArray[np.bool_]:
        """Which classes are reals, (C,)."""
        return is_real(self.classes)

    def seen(self, step: int) -> int:
        """Classes after so many steps, counted from 0."""
        return sum(c.task in self.names[: step + 1] for c in self.classes)

    def new(self, step: int) -> NDArray[np.int_]:
        """Images that a step learns from."""
        return np.flatnonzero((self.task == step) & ~self.is_test & (self.labels >= 0))

    def judged(self, task: int) -> NDArray[np.int_]:
        """Images that a task is judged by."""
        return np.flatnonzero((self.task == task) & self.is_test & (self.labels >= 0))

    def lesson(
        self, images: Sequence[int] | NDArray[np.int_], before: NDArray[np.float32] | None
    ) -> Lesson:
        """What learns from these images."""
        places = np.asarray(images, dtype=np.int_)
        return Lesson(
            self.material.maker,
            self.material.trunks,
            [(int(i), CENTRE) for i in places],
            self.labels[places],
            self.held_out[places],
            np.ones(len(places), dtype=np.bool_),
            before=before,
        )


def gather(
    tasks: Sequence[TaskImages],
    opened: Opened,
    pool: ViewPool,
    cache: CacheConfig,
    listener: Listener,
) -> Material:
    """See to the trunks of all images of all tasks.

    Raises:
        DatasetError: of some class nothing can be read on one side.
    """
    samples = [s for task in tasks for part in (task.train, task.test) for s, _ in part]
    empty = opened.attributor.extractors.emptied()
    maker, trunks = open_trunks(empty, samples, pool, cache)
    bad = trunks.prepare(
        [(i, CENTRE) for i in range(len(samples))],
        lambda done, total: listener.progress("trunk", done, total),
    )
    place = 0
    for task in tasks:
        for part in (task.train, task.test):
            left = {c for i, (_, c) in enumerate(part, place) if i not in bad}
            if lost := set(range(len(task.classes))) - left:
                raise DatasetError(
                    f"{task.name}: no image of {task.classes[min(lost)]!r} can be read"
                )
            place += len(part)
    return Material(tuple(tasks), tuple(samples), bad, maker, trunks, empty)


def arrange(material: Material, order: Sequence[int], settings: LearnSettings) -> Scene:
    """The scene of one order of the tasks."""
    tasks = [material.tasks[i] for i in order]
    classes: list[ClassRecord] = []
    first: dict[str, int] = {}
    for task in tasks:
        first[task.name] = len(classes)
        for index, name in enumerate(task.classes):
            kind: Kind = "real" if name == "real" else "fake"
            images = sum(c == index for _, c in task.train)
            classes.append(ClassRecord(task=task.name, kind=kind, name=name, images=images))
    rows = [
        (task, index, is_test)
        for task in material.tasks
        for is_test, part in ((False, task.train), (True, task.test))
        for _, index in part
    ]
    place = {task.name: i for i, task in enumerate(tasks)}
    labels = np.array([first[task.name] + index for task, index, _ in rows], dtype=np.int_)
    labels[list(material.unreadable)] = -1
    is_test = np.array([test for *_, test in rows], dtype=np.bool_)
    readable = np.flatnonzero(labels >= 0)
    found = material.trunks.features([(int(i), CENTRE) for i in readable])
    frozen = np.zeros((len(rows), found.shape[1]), np.float32)
    frozen[readable] = found
    return Scene(
        material,
        tuple(task.name for task in tasks),
        tuple(classes),
        labels,
        np.array([place[task.name] for task, *_ in rows], dtype=np.int_),
        is_test,
        _held_out(material.samples, labels, is_test, settings),
        frozen,
    )


def _held_out(
    samples: Sequence[Sample],
    labels: NDArray[np.int_],
    is_test: NDArray[np.bool_],
    settings: LearnSettings,
) -> NDArray[np.bool_]:
    held = np.zeros(len(samples), dtype=np.bool_)
    for label in np.unique(labels[labels >= 0]):
        own = np.flatnonzero((labels == label) & ~is_test).tolist()
        ranked = sorted(own, key=lambda i: rank(samples[i].key, settings.seed))
        held[ranked[: round(settings.held_out * len(ranked))]] = True
    return held
