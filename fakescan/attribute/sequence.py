"""Tasks learnt one after another by every method, and the figures of each.

Shapes: T tasks, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.adapt import Report
from fakescan.attribute.answer import probabilities
from fakescan.attribute.methods import Method, methods
from fakescan.attribute.metrics import (
    Sequential,
    binary_accuracy,
    confusion,
    mean_average_precision,
    multi_real_accuracy,
)
from fakescan.attribute.properties import properties_accuracy
from fakescan.attribute.scene import Material, Scene, arrange
from fakescan.attribute.settings import LearnSettings

PROPERTIES = "file properties"
"""Name of the row that looks at no pixel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One method over one order."""

    method: str
    order: tuple[str, ...]
    multi: Sequential
    """Multi-real accuracies."""
    binary: Sequential
    """Real or fake alone."""
    mean_ap: float
    """CDDB's mAP after the last task."""
    confusion: NDArray[np.int_]
    """Of the last step, (C, C); empty where it is not known."""
    classes: tuple[str, ...]
    seconds: tuple[float, ...]
    """That each task took."""

    def row(self) -> dict[str, Any]:
        """Figures by name, fractions."""
        return {
            "method": self.method,
            "order": list(self.order),
            "AAF": self.multi.final,
            "AA": self.multi.average,
            "BWT": self.multi.transfer,
            "binary_AAF": self.binary.final,
            "binary_AA": self.binary.average,
            "binary_forgetting": self.binary.forgetting,
            "mAP": self.mean_ap,
            "seconds": list(self.seconds),
            "R": [[None if np.isnan(v) else v for v in r] for r in self.multi.accuracies.tolist()],
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }


@dataclass(slots=True)
class Outcome:
    """Everything that an evaluation found."""

    tracks: list[Track] = field(default_factory=list)
    images: tuple[int, int] = (0, 0)
    """Learnt from, and judged by."""
    unreadable: int = 0

    def methods(self) -> list[str]:
        """In the order in which they ran."""
        return list(dict.fromkeys(track.method for track in self.tracks))

    def of(self, method: str) -> list[Track]:
        """Its tracks."""
        return [track for track in self.tracks if track.method == method]

    def final(self, method: str) -> float:
        """Its AAF, averaged over orders; NaN without any."""
        found = [track.multi.final for track in self.of(method)]
        return float(np.mean(found)) if found else float("nan")


def run(
    material: Material,
    orders: Sequence[Sequence[int]],
    settings: LearnSettings,
    report: Callable[[str, int, int], None],
    finished: Callable[[Track], None],
) -> Outcome:
    """Every method over every order.

    Args:
        material: images and trunks.
        orders: of the tasks, by their places; oracles run in the first alone.
        settings: of learning.
        report: called with what is learnt, and steps done and in all.
        finished: called with each track.
    """
    outcome = Outcome(unreadable=len(material.unreadable))
    for number, order in enumerate(orders):
        scene = arrange(material, order, settings)
        readable = scene.labels >= 0
        judged = int((scene.is_test & readable).sum())
        outcome.images = (int(readable.sum()) - judged, judged)
        for method in methods(scene, settings, has_oracles=number == 0):
            title = f"order {number + 1}/{len(orders)}: {method.name}"
            track = follow(method, scene, partial(report, title))
            outcome.tracks.append(track)
            finished(track)
        if number == 0:
            track = _properties(scene)
            outcome.tracks.append(track)
            finished(track)
    return outcome


def follow(method: Method, scene: Scene, report: Report) -> Track:
    """Let one method learn the tasks of a scene in order, and judge it after each."""
    tasks = len(scene.names)
    multi, binary = np.full((tasks, tasks), np.nan), np.full((tasks, tasks), np.nan)
    seconds: list[float] = []
    logits: list[NDArray[np.float64]] = []
    for step in range(tasks):
        if method.last_only and step < tasks - 1:
            continue
        started = time.perf_counter()
        method.learn(step, report)
        seconds.append(round(time.perf_counter() - started, 1))
        logits = []
        for task in range(step + 1):
            images = scene.judged(task)
            logits.append(method.logits(images))
            called = logits[-1].argmax(axis=1)
            multi[task, step] = multi_real_accuracy(scene.labels[images], called, scene.real)
            binary[task, step] = binary_accuracy(scene.labels[images], called, scene.real)
    labels = [scene.labels[scene.judged(task)] for task in range(tasks)]
    called = np.concatenate([part.argmax(axis=1) for part in logits])
    return Track(
        method=method.name,
        order=scene.names,
        multi=Sequential(multi),
        binary=Sequential(binary),
        mean_ap=_mean_ap(labels, logits, scene),
        confusion=confusion(np.concatenate(labels), called, len(scene.classes)),
        classes=tuple(f"{c.task}/{c.name}" for c in scene.classes),
        seconds=tuple(seconds),
    )


def _mean_ap(
    labels: Sequence[NDArray[np.int_]], logits: Sequence[NDArray[np.float64]], scene: Scene
) -> float:
    both = [i for i, own in enumerate(labels) if len(set(scene.real[own].tolist())) == 2]
    if not both or scene.real.all() or not scene.real.any():
        return float("nan")
    chances = [probabilities(logits[i], 1.0) for i in both]
    return mean_average_precision([labels[i] for i in both], chances, scene.real)


def _properties(scene: Scene) -> Track:
    tasks = len(scene.names)
    started = time.perf_counter()
    train = np.concatenate([scene.new(i) for i in range(tasks)])
    tests = [scene.judged(i) for i in range(tasks)]
    paths = [sample.path for sample in scene.material.samples]
    called = properties_accuracy(paths, train, tests, scene.labels)
    multi, binary = np.full((tasks, tasks), np.nan), np.full((tasks, tasks), np.nan)
    for task, (images, found) in enumerate(zip(tests, called, strict=True)):
        multi[task, -1] = multi_real_accuracy(scene.labels[images], found, scene.real)
        binary[task, -1] = binary_accuracy(scene.labels[images], found, scene.real)
    labels = np.concatenate([scene.labels[images] for images in tests])
    return Track(
        method=PROPERTIES,
        order=scene.names,
        multi=Sequential(multi),
        binary=Sequential(binary),
        mean_ap=float("nan"),
        confusion=confusion(labels, np.concatenate(called), len(scene.classes)),
        classes=tuple(f"{c.task}/{c.name}" for c in scene.classes),
        seconds=(round(time.perf_counter() - started, 1),),
    )
