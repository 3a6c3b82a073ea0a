"""LoRAX and what it is compared with, each learning the same tasks from the same images.

    LoRAX                an extractor a task, the classifier fitted around the old one
    fine-tuning          one extractor, trained on and on with its classifier, same memory
    fine-tuning, refitted   the same, its classifier fitted as LoRAX's is
    linear probe         frozen features, regression on new images and the same memory
    linear probe, around    the same, fitted around the old one as LoRAX's is: LoRAX without LoRA
    nearest mean         frozen features, the class whose mean is nearest by angle
    joint training       one extractor on all images of all tasks at once (oracle)
    joint probe          frozen features, regression on all images at once (oracle)

Shapes: n images, C classes seen so far, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.attribute.adapt import Place, Report, adapt, features_of
from fakescan.attribute.attributor import Attributor, advance, kept_views
from fakescan.attribute.exemplars import Exemplar
from fakescan.attribute.scene import Scene
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear, fit, grow

Indices = NDArray[np.int_]


class Method(Protocol):
    """Learns step by step, and gives logits of all classes so far."""

    name: str
    last_only: bool
    """Learns everything at the last step, so that only the end can be judged."""

    def learn(self, step: int, report: Report) -> None:
        """Learn the task of one step."""
        ...

    def logits(self, images: Indices) -> NDArray[np.float64]:
        """(n, C)."""
        ...


class _Remembering:
    """What keeps exemplars: places of images, class by class, best first."""

    last_only = False

    def __init__(self, scene: Scene, settings: LearnSettings) -> None:
        self.scene, self.settings = scene, settings
        self.memory: list[int] = []

    def images(self, step: int) -> Indices:
        """New ones first, then exemplars."""
        return np.concatenate([self.scene.new(step), np.array(self.memory, dtype=np.int_)])

    def place(self, step: int, start: Linear | None = None) -> Place:
        """Of the step's classes."""
        old = self.scene.seen(step - 1) if step else 0
        return Place(old, self.scene.seen(step) - old, start)

    def remember(self, step: int, images: Indices, features: NDArray[np.floating]) -> None:
        """Choose exemplars by herding on these features of the images."""
        lesson = self.scene.lesson(images, None)
        views = kept_views(lesson, features, self.place(step), self.settings)
        self.memory = [int(images[v]) for v in views]


class Lorax(_Remembering):
    """The attributor itself; what extractors give for an image is computed once."""

    name = "LoRAX"

    def __init__(self, scene: Scene, settings: LearnSettings) -> None:
        super().__init__(scene, settings)
        self.known = Attributor(scene.material.empty)
        self.width = scene.material.empty.own_features
        self._given: list[dict[int, NDArray[np.float32]]] = []

    def learn(self, step: int, report: Report) -> None:
        """See `Method.learn`."""
        images, scene = self.images(step), self.scene
        lesson = scene.lesson(images, self._features(images))
        new = scene.classes[len(self.known.classes) : scene.seen(step)]
        learnt = advance(self.known, lesson, new, self.settings, report, _unnamed)
        self.known = learnt.attributor
        own = learnt.features[:, -self.width :]
        self._given.append(dict(zip(images.tolist(), own, strict=True)))
        self.memory = [int(images[v]) for v in learnt.kept]

    def logits(self, images: Indices) -> NDArray[np.float64]:
        """See `Method.logits`."""
        return self.known.logits(self._features(images))

    def _features(self, images: Indices) -> NDArray[np.float32]:
        parts = [self.scene.frozen[images, : -self.width]]
        for task, given in enumerate(self._given):
            missing = [i for i in images.tolist() if i not in given]
            if missing:
                lesson = self.scene.lesson(missing, None)
                made = features_of(self.known.extractors, lesson, [task])
                given.update(zip(missing, made, strict=True))
            parts.append(np.stack([given[i] for i in images.tolist()]))
        return np.concatenate(parts, axis=1)


class FineTuning(_Remembering):
    """One extractor that goes on from task to task."""

    name = "fine-tuning"

    def __init__(self, scene: Scene, settings: LearnSettings) -> None:
        super().__init__(scene, settings)
        self.extractors = scene.material.empty.extended()
        self.linear: Linear | None = None
        self.refitted: Linear | None = None
        self._given: dict[int, NDArray[np.float32]] = {}

    def learn(self, step: int, report: Report) -> None:
        """See `Method.learn`."""
        images, place = self.images(step), self.place(step)
        start = None
        if self.linear is not None:
            start = grow(self.linear, place.classes, self.scene.frozen.shape[1])
        lesson = self.scene.lesson(images, None)
        below = self.scene.frozen[images, : self.extractors.frozen_features]
        # No fit prepares its classifier, which therefore learns as fast as the adapters.
        settings = replace(self.settings, head_lr_factor=1.0)
        self.linear = adapt(
            self.extractors, lesson, below, self.place(step, start), settings, report
        )
        self._given = {}
        features = self.features(images)
        around = self.refitted and grow(self.refitted, place.classes, features.shape[1])
        labels = lesson.labels
        self.refitted = fit(features, labels, place.classes, self.settings.l2, around=around)
        self.remember(step, images, features)

    def features(self, images: Indices) -> NDArray[np.float32]:
        """(n, F)."""
        missing = [i for i in images.tolist() if i not in self._given]
        if missing:
            made = features_of(self.extractors, self.scene.lesson(missing, None), [0])
            self._given.update(zip(missing, made, strict=True))
        own = np.stack([self._given[i] for i in images.tolist()])
        return np.concatenate([self.scene.frozen[images, : -own.shape[1]], own], axis=1)

    def logits(self, images: Indices) -> NDArray[np.float64]:
        """See `Method.logits`."""
        assert self.linear is not None
        return self.linear.logits(self.features(images))


class Refitted:
    """The same extractor as `FineTuning`, which it must follow, with a fitted classifier."""

    name = "fine-tuning, refitted"
    last_only = False

    def __init__(self, tuned: FineTuning) -> None:
        self.tuned = tuned

    def learn(self, step: int, report: Report) -> None:
        """Nothing: the other has learnt."""
        del step, report

    def logits(self, images: Indices) -> NDArray[np.float64]:
        """See `Method.logits`."""
        assert self.tuned.refitted is not None
        return self.tuned.refitted.logits(self.tuned.features(images))


class Probe(_Remembering):
    """Regression on frozen features."""

    def __init__(self, scene: Scene, settings: LearnSettings, *, is_around: bool) -> None:
        super().__init__(scene, settings)
        self.name = "linear probe, around" if is_around else "linear probe"
        self.is_around = is_around
        self.linear: Linear | None = None

    def learn(self, step: int, report: Report) -> None:
        """See `Method.learn`."""
        del report
        images, classes = self.images(step), self.scene.seen(step)
        features, labels = self.scene.frozen[images], self.scene.labels[images]
        around = None
        if self.is_around and self.linear is not None:
            around = grow(self.linear, classes, features.shape[1])
        self.linear = fit(features, labels, classes, self.settings.l2, around=around)
        self.remember(step, images, features)

    def logits(self, images: Indices) -> NDArray[np.float64]:
        """See `Method.logits`."""
        assert self.linear is not None
        return self.linear.logits(self.scene.frozen[images])


class NearestMean:
    """Means of standardised frozen features of length 1; the first task sets the standard."""

    name = "nearest mean"
    last_only = False

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        first = scene.frozen[scene.new(0)]
        self.mean, self.std = first.mean(axis=0), first.std(axis=0) + 1e-6
        self.means: list[NDArray[np.float64]] = []

    def learn(self, step: int, report: Report) -> None:
        """See `Method.learn`."""
        del report  # it takes no time
        new = self.scene.new(step)
        for label in range(len(self.means), self.scene.seen(step)):
            mean = self._directions(new[self.scene.labels[new] == label]).mean(axis=0)
            self.means.append(mean / np.linalg.norm(mean))

    def logits(self, images: Indices) -> NDArray[np.float64]:
        """See `Method.logits`."""
        return 20 * self._directions(images) @ np.stack(self.means).T

    def _directions(self, images: Indices) -> NDArray[np.float64]:
        z = ((self.scene.frozen[images] - self.mean) / self.std).astype(np.float64)
        return np.asarray(z / np.linalg.norm(z, axis=1, keepdims=True), np.float64)


class Joint:
    """One extractor on everything at once, or none: what nothing was forgotten would give."""

    last_only = True

    def __init__(self, scene: Scene, settings: LearnSettings, *, has_adapter: bool) -> None:
        self.scene, self.settings = scene, settings
        self.name = "joint training" if has_adapter else "joint probe"
        self.extractors = scene.material.empty.extended() if has_adapter else None
        self.linear: Linear | None = None

    def learn(self, step: int, report: Report) -> None:
        """See `Method.learn`."""
        images = np.concatenate([self.scene.new(i) for i in range(step + 1)])
        classes = len(self.scene.classes)
        if self.extractors is not None:
            below = self.scene.frozen[images, : self.extractors.frozen_features]
            lesson = self.scene.lesson(images, None)
            adapt(self.extractors, lesson, below, Place(0, classes), self.settings, report)
        features, labels = self._features(images), self.scene.labels[images]
        self.linear = fit(features, labels, classes, self.settings.l2)

    def logits(self, images: Indices) -> NDArray[np.float64]:
        """See `Method.logits`."""
        assert self.linear is not None
        return self.linear.logits(self._features(images))

    def _features(self, images: Indices) -> NDArray[np.float32]:
        if self.extractors is None:
            return self.scene.frozen[images]
        own = features_of(self.extractors, self.scene.lesson(images, None), [0])
        return np.concatenate([self.scene.frozen[images, : -own.shape[1]], own], axis=1)


def methods(scene: Scene, settings: LearnSettings, *, has_oracles: bool) -> Sequence[Method]:
    """All of them; oracles see no order, so that one scene is enough for them."""
    torch.manual_seed(settings.seed)
    tuned = FineTuning(scene, settings)
    found: list[Method] = [
        Lorax(scene, settings),
        tuned,
        Refitted(tuned),
        Probe(scene, settings, is_around=False),
        Probe(scene, settings, is_around=True),
        NearestMean(scene),
    ]
    if has_oracles:
        found += [
            Joint(scene, settings, has_adapter=True),
            Joint(scene, settings, has_adapter=False),
        ]
    return found


def _unnamed(view: int) -> Exemplar:
    return Exemplar(label=0, path=str(view), sha256="", is_held_out=False)
