"""Methods that train adapters: LoRAX, fine-tuning, and joint training.

Shapes: n images, C classes seen so far, F features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.attribute.adapt import Place, Report, features_of
from fakescan.attribute.adapters import Extractors
from fakescan.attribute.attributor import Attributor, advance
from fakescan.attribute.exemplars import Exemplar
from fakescan.attribute.method import Indices, Logits, Remembering, State, packed, unpacked
from fakescan.attribute.scene import Scene
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear, fit, grow
from fakescan.attribute.training import train


class Lorax(Remembering):
    """The attributor itself; what extractors give for an image is computed once."""

    names = ("LoRAX",)

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

    def logits(self, images: Indices) -> list[Logits]:
        """See `Method.logits`."""
        return [self.known.logits(self._features(images))]

    def state(self) -> State:
        """See `Method.state`."""
        found: State = {"memory": np.array(self.memory, np.int64)}
        for task, given in enumerate(self._given):
            found[f"given.{task}.images"] = np.array(list(given), np.int64)
            found[f"given.{task}.features"] = np.stack(list(given.values()))
            found |= _adapters(self.known.extractors, task)
        return found | packed("classifier", self.known.linear)

    def restore(self, step: int, state: State) -> None:
        """See `Method.restore`."""
        extractors = self.scene.material.empty
        self._given = []
        for task in range(step + 1):
            extractors = extractors.extended()
            _fill(extractors, task, state)
            given = zip(
                state[f"given.{task}.images"].tolist(),
                state[f"given.{task}.features"],
                strict=True,
            )
            self._given.append(dict(given))
        classes = self.scene.classes[: self.scene.seen(step)]
        self.known = Attributor(extractors, classes, unpacked("classifier", state))
        self.memory = state["memory"].tolist()

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


class FineTuning(Remembering):
    """One extractor that goes on from task to task; answers with two classifiers."""

    names = ("fine-tuning", "fine-tuning, refitted")

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
        self.linear = train(
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

    def logits(self, images: Indices) -> list[Logits]:
        """See `Method.logits`."""
        assert self.linear is not None
        assert self.refitted is not None
        features = self.features(images)
        return [self.linear.logits(features), self.refitted.logits(features)]

    def state(self) -> State:
        """See `Method.state`."""
        return {
            "memory": np.array(self.memory, np.int64),
            **_adapters(self.extractors, 0),
            **packed("classifier", self.linear),
            **packed("refitted", self.refitted),
        }

    def restore(self, step: int, state: State) -> None:
        """See `Method.restore`."""
        del step  # there is one extractor at every step
        _fill(self.extractors, 0, state)
        self.linear, self.refitted = unpacked("classifier", state), unpacked("refitted", state)
        self.memory = state["memory"].tolist()
        self._given = {}


class Joint:
    """One extractor on everything at once, or none: what nothing was forgotten would give."""

    last_only = True

    def __init__(self, scene: Scene, settings: LearnSettings, *, has_adapter: bool) -> None:
        self.scene, self.settings = scene, settings
        self.names = ("joint training",) if has_adapter else ("joint probe",)
        self.extractors = scene.material.empty.extended() if has_adapter else None
        self.linear: Linear | None = None

    def learn(self, step: int, report: Report) -> None:
        """See `Method.learn`."""
        images = np.concatenate([self.scene.new(i) for i in range(step + 1)])
        classes = len(self.scene.classes)
        if self.extractors is not None:
            below = self.scene.frozen[images, : self.extractors.frozen_features]
            lesson = self.scene.lesson(images, None)
            train(self.extractors, lesson, below, Place(0, classes), self.settings, report)
        features, labels = self._features(images), self.scene.labels[images]
        self.linear = fit(features, labels, classes, self.settings.l2)

    def logits(self, images: Indices) -> list[Logits]:
        """See `Method.logits`."""
        assert self.linear is not None
        return [self.linear.logits(self._features(images))]

    def state(self) -> State:
        """Nothing: no step follows."""
        return {}

    def restore(self, step: int, state: State) -> None:
        """Nothing to take."""
        del step, state

    def _features(self, images: Indices) -> NDArray[np.float32]:
        if self.extractors is None:
            return self.scene.frozen[images]
        own = features_of(self.extractors, self.scene.lesson(images, None), [0])
        return np.concatenate([self.scene.frozen[images, : -own.shape[1]], own], axis=1)


def _adapters(extractors: Extractors, task: int) -> State:
    found = extractors.state_of(task)
    return {f"task.{task}.{name}": value.numpy() for name, value in found.items()}


def _fill(extractors: Extractors, task: int, state: State) -> None:
    own = extractors.tasks[task]
    named = {name: torch.from_numpy(state[f"task.{task}.{name}"]) for name in own.state_dict()}
    own.load_state_dict(named)


def _unnamed(view: int) -> Exemplar:
    return Exemplar(label=0, path=str(view), sha256="", is_held_out=False)
