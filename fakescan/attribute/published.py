"""Train the newest extractor with the whole classifier, as LoRAX was published.

    loss = CE(W E + b, y) + diversity * CE(V phi_t + c, y'),   y' = 0 for every old class

AdamW on the newest adapter, all of W, b, and V, c; old adapters are frozen. W is drawn anew, and
the old classifier copied into its corner. Images are cropped at random, anew in every epoch;
exemplars stand among them once.

The learning rate is what the published code does, not what its settings seem to say. The base rate
is scaled by batch / 512, to 6.25e-6 for the first task and 3.125e-5 for later ones; the warm-up
from 1e-4 and the lowest rate, 1e-5, are not. So training starts at 1e-4, falls to the base over
5 epochs, and goes on by a cosine; each epoch takes the schedule's value of the one before.

Source: LoRAX, arXiv 2504.08149, section 3, and its official code. Differs from the code: float32
on processors; the last, smaller batch is used where there is no full one; a task may add any
number of classes.

Shapes: B views of a batch, F features, C classes, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fakescan.attribute.adapt import Place, Report
from fakescan.attribute.adapters import Extractors
from fakescan.attribute.lesson import Lesson
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear
from fakescan.train.trunks import Draw

FIRST_LR, LATER_LR = 1e-4, 5e-4
"""Base rates of the first task and of later ones, at a batch of `LR_BATCH`."""
LR_BATCH = 512
WARMUP_LR, MIN_LR = 1e-4, 1e-5
"""Not scaled by the batch."""
WARMUP_EPOCHS = 5


def train(
    extractors: Extractors, lesson: Lesson, place: Place, settings: LearnSettings, report: Report
) -> Linear:
    """Train the last extractor in place; gives the classifier that was trained with it.

    Args:
        extractors: the newest already added.
        lesson: labels, and which views are held out.
        place: of the task among the classes; its `start` is the old classifier, of whose rows
            those of old classes are taken.
        settings: epochs, batch, weight decay, seed.
        report: called after every step.
    """
    device, newest = extractors.device, len(extractors.tasks) - 1
    width = extractors.own_features
    linear = grown(place, (newest + 1) * width).to(device)
    old_or_new = nn.Linear(width, 1 + place.new).to(device)
    parameters = [*extractors.parameters_of(newest), *linear.parameters()]
    if place.old:
        parameters += list(old_or_new.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=MIN_LR, weight_decay=settings.weight_decay)
    labels = torch.from_numpy(lesson.labels)
    steps = list(_steps(lesson, settings, place.old))
    draws = [[_draw(lesson, view, epoch) for view in batch] for epoch, batch in steps]
    extractors.tasks[newest].train()
    for done, (trunk, (epoch, batch)) in enumerate(
        zip(lesson.trunks.stream(draws), steps, strict=True), 1
    ):
        for group in optimizer.param_groups:
            group["lr"] = rate(epoch, settings, is_first=not place.old)
        own = extractors.one(newest, trunk)  # (B, D)
        target = labels[batch].to(device)
        logits = linear(torch.cat([extractors.all(trunk, newest), own], dim=-1))  # (B, C)
        loss = functional.cross_entropy(logits, target)
        if place.old:
            loss = loss + settings.diversity * _diversity(old_or_new(own), target, place)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report(done, len(steps))
    extractors.tasks[newest].eval()
    weight, bias = (p.detach().double().cpu().numpy() for p in (linear.weight, linear.bias))
    return Linear(weight, bias)


def rate(epoch: int, settings: LearnSettings, *, is_first: bool) -> float:
    """Learning rate of an epoch, counted from 0."""
    base = (FIRST_LR if is_first else LATER_LR) * settings.batch_size / LR_BATCH
    at = max(0, epoch - 1)
    if at < WARMUP_EPOCHS:
        return WARMUP_LR + at * (base - WARMUP_LR) / WARMUP_EPOCHS
    return MIN_LR + 0.5 * (base - MIN_LR) * (1 + math.cos(math.pi * at / settings.epochs))


def grown(place: Place, features: int) -> nn.Linear:
    """A new classifier of all classes with the old one in its corner.

    Args:
        place: of the task; its `start` is the old classifier.
        features: F.
    """
    linear = nn.Linear(features, place.classes)
    nn.init.kaiming_uniform_(linear.weight, nonlinearity="linear")
    nn.init.zeros_(linear.bias)
    if place.start is not None:
        weight = torch.from_numpy(place.start.weight[: place.old])  # (C_old, F_old)
        with torch.no_grad():
            linear.weight[: place.old, : weight.shape[1]] = weight
            linear.bias[: place.old] = torch.from_numpy(place.start.bias[: place.old])
    return linear


def _diversity(logits: Tensor, target: Tensor, place: Place) -> Tensor:
    """Old, or which of the new classes? (B, 1 + new) -> ()."""
    return functional.cross_entropy(logits, (target - place.old + 1).clamp_min(0))


def _steps(lesson: Lesson, settings: LearnSettings, old: int) -> Iterator[tuple[int, list[int]]]:
    """Epoch and views of every step; the last, smaller batch only where it is the only one."""
    random = np.random.default_rng([settings.seed, old])
    views = np.flatnonzero(~lesson.held_out)
    size = min(settings.batch_size, len(views))
    for epoch in range(settings.epochs):
        shuffled = random.permutation(views)
        for start in range(0, len(shuffled) - size + 1, size):
            yield epoch, shuffled[start : start + size].tolist()


def _draw(lesson: Lesson, view: int, epoch: int) -> Draw:
    """A random crop of a view's file, another one in every epoch."""
    return lesson.draws[view][0], epoch
