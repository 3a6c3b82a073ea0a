"""What every method that an evaluation compares can do: learn a step, answer, stop and go on.

Shapes: n images, C classes seen so far, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.adapt import Place, Report
from fakescan.attribute.attributor import kept_views
from fakescan.attribute.scene import Scene
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear

Indices: TypeAlias = NDArray[np.int_]
Logits: TypeAlias = NDArray[np.float64]
State: TypeAlias = dict[str, NDArray[Any]]
"""All that a method needs to go on, as arrays by name."""


class Method(Protocol):
    """Learns step by step, and gives logits of all classes so far."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rows that it fills: it may answer in several ways after the same learning."""
        ...

    @property
    def last_only(self) -> bool:
        """Learns everything at the last step, so that only the end can be judged."""
        ...

    def learn(self, step: int, report: Report) -> None:
        """Learn the task of one step."""
        ...

    def logits(self, images: Indices) -> list[Logits]:
        """(n, C) for each of `names`."""
        ...

    def state(self) -> State:
        """What the next step starts from."""
        ...

    def restore(self, step: int, state: State) -> None:
        """Take what `state` gave after a step."""
        ...


class Remembering:
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


def packed(name: str, linear: Linear | None) -> State:
    """A classifier as arrays; none at all as nothing."""
    if linear is None:
        return {}
    return {f"{name}.weight": linear.weight, f"{name}.bias": linear.bias}


def unpacked(name: str, state: Mapping[str, NDArray[Any]]) -> Linear | None:
    """What `packed` gave."""
    if f"{name}.weight" not in state:
        return None
    return Linear(state[f"{name}.weight"], state[f"{name}.bias"])
