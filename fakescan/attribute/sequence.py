"""Tasks learnt one after another by every method, and the figures of each.

Shapes: T tasks, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.adapt import Report
from fakescan.attribute.answer import probabilities
from fakescan.attribute.intervals import Right
from fakescan.attribute.kept import Kept, Step, identity
from fakescan.attribute.method import Logits, Method
from fakescan.attribute.methods import methods
from fakescan.attribute.metrics import (
    Sequential,
    binary_accuracy,
    confusion,
    is_right,
    mean_average_precision,
    multi_real_accuracy,
)
from fakescan.attribute.properties import properties_accuracy
from fakescan.attribute.scene import Material, Scene, arrange
from fakescan.attribute.settings import LearnSettings
from fakescan.config import to_dict

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
    right: Right
    """Of the last step."""
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
            "right": self.right,
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
    keep: Path | None = None,
) -> Outcome:
    """Every method over every order.

    Args:
        material: images and trunks.
        orders: of the tasks, by their places; oracles run in the first alone.
        settings: of learning.
        report: called with what is learnt, and steps done and in all.
        finished: called with each track.
        keep: folder for finished steps, which are not learnt again; None keeps nothing.
    """
    outcome = Outcome(unreadable=len(material.unreadable))

    def add(track: Track) -> None:
        outcome.tracks.append(track)
        finished(track)

    known = None if keep is None else facts(material, settings)
    for number, order in enumerate(orders):
        scene = arrange(material, order, settings)
        readable = scene.labels >= 0
        judged = int((scene.is_test & readable).sum())
        outcome.images = (int(readable.sum()) - judged, judged)
        for method in methods(scene, settings, has_oracles=number == 0):
            title = f"order {number + 1}/{len(orders)}: {method.names[0]}"
            kept = Kept(keep, {"facts": known, "order": scene.names}, method.names[0])
            for track in follow(method, scene, partial(report, title), kept):
                add(track)
        if number == 0:
            add(_properties(scene))
    return outcome


def facts(material: Material, settings: LearnSettings) -> dict[str, Any]:
    """All that results depend on besides the order."""
    extractors = material.empty
    return {
        "images": identity([sample.path for sample in material.samples]),
        "tasks": [
            (task.name, task.classes, [[c for _, c in part] for part in (task.train, task.test)])
            for task in material.tasks
        ],
        "design": to_dict(extractors.design),
        "backbone": extractors.sha256(),
        "preprocess": to_dict(material.maker.preprocess),
        "settings": to_dict(settings),
    }


def follow(method: Method, scene: Scene, report: Report, kept: Kept) -> list[Track]:
    """Let one method learn the tasks of a scene in order, and judge it after each.

    Args:
        method: has learnt nothing yet.
        scene: of the tasks.
        report: called with training steps done and in all.
        kept: steps that were learnt before.

    Returns:
        A track for each of its names.
    """
    tasks = len(scene.names)
    first = tasks - 1 if method.last_only else 0
    if kept.steps:
        first = kept.steps[-1].number + 1
        if not kept.is_whole:
            method.restore(first - 1, kept.state)
    for step in range(first, tasks):
        started = time.perf_counter()
        method.learn(step, report)
        seconds = round(time.perf_counter() - started, 1)
        kept.add(_judged(method, scene, step, seconds), method.state(), is_last=step == tasks - 1)
    return [_track(i, name, scene, kept.steps) for i, name in enumerate(method.names)]


def _judged(method: Method, scene: Scene, step: int, seconds: float) -> Step:
    by_task = [method.logits(scene.judged(task)) for task in range(step + 1)]
    by_name = list(zip(*by_task, strict=True))
    called = [[part.argmax(axis=1).tolist() for part in logits] for logits in by_name]
    is_last = step == len(scene.names) - 1
    mean_ap = [_mean_ap(logits, scene) if is_last else None for logits in by_name]
    return Step(step, seconds, called, mean_ap)


def _track(index: int, name: str, scene: Scene, steps: Sequence[Step]) -> Track:
    """What the steps say of one of a method's names."""
    tasks = len(scene.names)
    labels = [scene.labels[scene.judged(task)] for task in range(tasks)]
    multi, binary = np.full((tasks, tasks), np.nan), np.full((tasks, tasks), np.nan)
    called: list[NDArray[np.int_]] = []
    for step in steps:
        called = [np.array(part, dtype=np.int_) for part in step.called[index]]
        for task, (true, found) in enumerate(zip(labels[: len(called)], called, strict=True)):
            multi[task, step.number] = multi_real_accuracy(true, found, scene.real)
            binary[task, step.number] = binary_accuracy(true, found, scene.real)
    mean_ap = steps[-1].mean_ap[index]
    return Track(
        method=name,
        order=scene.names,
        multi=Sequential(multi),
        binary=Sequential(binary),
        mean_ap=float("nan") if mean_ap is None else mean_ap,
        confusion=confusion(np.concatenate(labels), np.concatenate(called), len(scene.classes)),
        classes=tuple(f"{c.task}/{c.name}" for c in scene.classes),
        right=_right(scene, labels, called),
        seconds=tuple(step.seconds for step in steps),
    )


def _right(
    scene: Scene, labels: Sequence[NDArray[np.int_]], called: Sequence[NDArray[np.int_]]
) -> Right:
    return {
        name: is_right(true, found, scene.real).astype(int).tolist()
        for name, true, found in zip(scene.names, labels, called, strict=True)
    }


def _mean_ap(logits: Sequence[Logits], scene: Scene) -> float | None:
    """Over tasks that have both kinds; None where no task has."""
    labels = [scene.labels[scene.judged(task)] for task in range(len(logits))]
    both = [i for i, own in enumerate(labels) if len(set(scene.real[own].tolist())) == 2]
    if not both or scene.real.all() or not scene.real.any():
        return None
    chances = [probabilities(logits[i], 1.0) for i in both]
    return mean_average_precision([labels[i] for i in both], chances, scene.real)


def _properties(scene: Scene) -> Track:
    tasks = len(scene.names)
    started = time.perf_counter()
    train = np.concatenate([scene.new(i) for i in range(tasks)])
    tests = [scene.judged(i) for i in range(tasks)]
    paths = [sample.path for sample in scene.material.samples]
    called = properties_accuracy(paths, train, tests, scene.labels)
    seconds = round(time.perf_counter() - started, 1)
    step = Step(tasks - 1, seconds, [[part.tolist() for part in called]], [None])
    return _track(0, PROPERTIES, scene, [step])
