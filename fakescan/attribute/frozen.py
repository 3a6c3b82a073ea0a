"""Methods that train no adapter: regression and nearest means on what the frozen backbone gives.

Shapes: n images, C classes seen so far, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.adapt import Report
from fakescan.attribute.method import Indices, Logits, Remembering, State, packed, unpacked
from fakescan.attribute.scene import Scene
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear, fit, grow


class Probe(Remembering):
    """Regression on frozen features."""

    def __init__(self, scene: Scene, settings: LearnSettings, *, is_around: bool) -> None:
        super().__init__(scene, settings)
        self.names = ("linear probe, around",) if is_around else ("linear probe",)
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

    def logits(self, images: Indices) -> list[Logits]:
        """See `Method.logits`."""
        assert self.linear is not None
        return [self.linear.logits(self.scene.frozen[images])]

    def state(self) -> State:
        """See `Method.state`."""
        return {"memory": np.array(self.memory, np.int64), **packed("classifier", self.linear)}

    def restore(self, step: int, state: State) -> None:
        """See `Method.restore`."""
        del step
        self.linear, self.memory = unpacked("classifier", state), state["memory"].tolist()


class NearestMean:
    """Means of standardised frozen features of length 1; the first task sets the standard."""

    names = ("nearest mean",)
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

    def logits(self, images: Indices) -> list[Logits]:
        """See `Method.logits`."""
        return [20 * self._directions(images) @ np.stack(self.means).T]

    def state(self) -> State:
        """See `Method.state`."""
        return {"means": np.stack(self.means)}

    def restore(self, step: int, state: State) -> None:
        """See `Method.restore`."""
        del step
        self.means = list(state["means"])

    def _directions(self, images: Indices) -> NDArray[np.float64]:
        z = ((self.scene.frozen[images] - self.mean) / self.std).astype(np.float64)
        return np.asarray(z / np.linalg.norm(z, axis=1, keepdims=True), np.float64)
