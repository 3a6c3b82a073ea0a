"""Train the newest extractor with the whole classifier; older extractors are frozen.

    loss = CE(W E + b, y) + diversity * CE(V phi_t + c, y'),   y' = 0 for every old class

The second term is there from the second task on; V is thrown away afterwards.

Source: LoRAX, arXiv 2504.08149, section 3. Differs from the paper: what older extractors give is
computed once, without dropout; the classifier starts from the regression that fits what the frozen
backbone gives, reads standardised features, and is fitted again at the end (`fakescan.attribute.
learn`); one warm-up and cosine schedule. `lorax-paper` does as the paper.

Shapes: n views, B views of a batch, F features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fakescan.attribute.adapters import Extractors
from fakescan.attribute.extractors import SharedTrunk
from fakescan.attribute.lesson import Lesson
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear, balanced, fit
from fakescan.train.probe import moments

WARMUP = 0.05
"""Share of the steps in which the rate rises from 0."""
START_L2 = 0.1
"""Of the regression that training starts from: loose, so that there is something to learn."""

Report = Callable[[int, int], None]
"""Called with steps done and steps in all."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands among classes."""

    old: int
    """Classes before it."""
    new: int
    """Its own."""
    start: Linear | None = None
    """What training starts from; None: the regression that fits the frozen backbone."""

    @property
    def classes(self) -> int:
        """In all."""
        return self.old + self.new


def adapt(
    extractors: SharedTrunk,
    lesson: Lesson,
    before: NDArray[np.float32],
    place: Place,
    settings: LearnSettings,
    report: Report,
) -> Linear:
    """Train the last extractor in place; gives the classifier that was trained with it.

    Args:
        extractors: the newest already added.
        lesson: labels, tokens, and which views are held out.
        before: what all older extractors give for every view, frozen levels first, (n, F - F1).
        place: of the task among the classes.
        settings: rates, epochs, seed.
        report: called after every step.
    """
    head = _Head(lesson, before, place, settings)
    device = next(extractors.parameters()).device
    head.to(device)
    adapters = extractors.parameters_of(-1)
    optimizer = torch.optim.AdamW(
        [
            {"params": adapters, "factor": 1.0},
            {"params": list(head.parameters()), "factor": settings.head_lr_factor},
        ],
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )
    random = np.random.default_rng([settings.seed, place.old])
    steps = list(_batches(np.flatnonzero(~lesson.held_out), settings, random))
    for done, (batch, trunk) in enumerate(zip(steps, lesson.stream(steps), strict=True)):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * group["factor"] * rate(done, len(steps))
        own = extractors.one(-1, trunk)  # (B, F1)
        old = torch.from_numpy(before[batch]).to(device)
        labels = torch.from_numpy(lesson.labels[batch]).to(device)
        loss = head.loss(torch.cat([old, own], dim=-1), own, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report(done + 1, len(steps))
    return head.folded()


def rate(step: int, steps: int) -> float:
    """Factor on the highest rate: a linear rise, then a cosine to 0."""
    rise = max(1, round(WARMUP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class _Head(nn.Module):
    """The classifier on standardised features, and the diversity head."""

    mean: Tensor
    std: Tensor
    weights: Tensor

    def __init__(
        self, lesson: Lesson, before: NDArray[np.float32], place: Place, settings: LearnSettings
    ) -> None:
        super().__init__()
        self.place, self.diversity = place, settings.diversity if place.old else 0.0
        own_width = lesson.frozen().shape[1] - lesson.maker.frozen_levels
        start = np.concatenate([before, lesson.frozen()[:, -own_width:]], axis=1)
        is_trained = ~lesson.held_out
        rows, labels = start[is_trained], lesson.labels[is_trained]
        sample_weights = balanced(labels)
        found = moments(rows, sample_weights)
        linear = place.start or fit(rows, labels, place.classes, START_L2)
        self.register_buffer("mean", torch.from_numpy(found.mean).float())
        self.register_buffer("std", torch.from_numpy(found.std).float())
        counts = np.bincount(labels, minlength=place.classes)
        weight = np.where(counts, len(labels) / np.maximum(counts, 1) / (counts > 0).sum(), 0)
        self.register_buffer("weights", torch.from_numpy(weight).float())
        self.linear = nn.Linear(start.shape[1], place.classes)
        self.old_or_new = nn.Linear(own_width, 1 + place.new)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(linear.weight * found.std))
            self.linear.bias.copy_(torch.from_numpy(linear.bias + linear.weight @ found.mean))

    @torch.no_grad()
    def folded(self) -> Linear:
        """The classifier of raw features."""
        mean, std = (x.double().cpu().numpy() for x in (self.mean, self.std))
        weight = self.linear.weight.double().cpu().numpy() / std
        return Linear(weight, self.linear.bias.double().cpu().numpy() - weight @ mean)

    def loss(self, features: Tensor, own: Tensor, labels: Tensor) -> Tensor:
        """Of one batch, (); features (B, F), own (B, F1), labels (B,)."""
        logits = self.linear((features - self.mean) / self.std)
        loss = functional.cross_entropy(logits, labels, self.weights)
        if not self.diversity:
            return loss
        width = own.shape[1]
        standard = (own - self.mean[-width:]) / self.std[-width:]
        target = (labels - self.place.old + 1).clamp_min(0)
        return loss + self.diversity * functional.cross_entropy(self.old_or_new(standard), target)


def _batches(
    views: NDArray[np.int_], settings: LearnSettings, random: np.random.Generator
) -> Iterator[list[int]]:
    """All batches of all epochs; rising within each, as `Lesson.stream` wants them."""
    for _ in range(settings.epochs):
        shuffled = random.permutation(views)
        for start in range(0, len(shuffled), settings.batch_size):
            yield sorted(shuffled[start : start + settings.batch_size].tolist())


@torch.no_grad()
def features_of(
    extractors: Extractors, lesson: Lesson, tasks: Sequence[int]
) -> NDArray[np.float32]:
    """What some extractors give for every view, side by side, (n, F1 each)."""
    rows = [
        torch.cat([extractors.one(task, trunk) for task in tasks], dim=-1).cpu().numpy()
        for trunk in lesson.stream(lesson.batches())
    ]
    return np.concatenate(rows)
