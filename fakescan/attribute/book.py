"""Images and exemplars -> the views of a lesson, readable ones only, with what each is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from fakescan import weights
from fakescan.attribute.adapters import Extractors
from fakescan.attribute.answer import ClassRecord
from fakescan.attribute.exemplars import Exemplar, is_unchanged, locate
from fakescan.attribute.lesson import Lesson
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.store import Opened
from fakescan.data.samples import Sample, rank
from fakescan.errors import DatasetError
from fakescan.train.cached import CachedTrunks
from fakescan.train.prepare import Listener
from fakescan.train.settings import CacheConfig
from fakescan.train.trunk import Maker, TrunkMaker
from fakescan.train.trunks import PlainTrunks, Trunks
from fakescan.train.views import CENTRE, ViewPool
from fakescan.weights import sha256_of

REAL = "real"
LEAST = 2
"""Images that a class needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTask:
    """What is to be learnt."""

    name: str
    generators: Mapping[str, Sequence[Path]]
    """Generator -> images."""
    reals: Sequence[Path] = ()

    @property
    def classes(self) -> dict[str, Sequence[Path]]:
        """Reals first, if there are any."""
        reals = {REAL: self.reals} if self.reals else {}
        return {**reals, **self.generators}


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Where and with what a task is learnt."""

    weights: Path | None = None
    """Of the backbone, where they lie elsewhere now."""
    device: torch.device | None = None
    workers: int | None = None
    cache: CacheConfig = field(default_factory=CacheConfig)


@dataclass(slots=True)
class Book:
    """The lesson with what its views are of."""

    lesson: Lesson
    samples: list[Sample]
    """Of views from files: new ones, then exemplars."""
    of_class: list[str]
    """Name of the class of each new sample."""
    exemplars: list[Exemplar]
    """Those learnt from again: from files first, then stored ones."""
    new: int
    """New samples."""
    stored: int
    """Exemplars whose tokens are stored."""

    def classes(self, task: NewTask) -> list[ClassRecord]:
        """What the task adds."""
        return [
            ClassRecord(
                task=task.name,
                kind="real" if name == REAL else "fake",
                name=name,
                images=self.of_class.count(name),
            )
            for name in task.classes
        ]

    def exemplar(self, view: int) -> Exemplar:
        """What the memory would say of a view."""
        if view >= len(self.lesson.draws):
            return self.exemplars[len(self.samples) - self.new + view - len(self.lesson.draws)]
        sample = self.lesson.draws[view][0]
        if sample >= self.new:
            return self.exemplars[sample - self.new]
        path = self.samples[sample].path
        return Exemplar(
            label=int(self.lesson.labels[view]),
            path=str(path.absolute()),
            sha256=sha256_of(path),
            is_held_out=bool(self.lesson.held_out[view]),
        )


def open_book(
    opened: Opened,
    task: NewTask,
    settings: LearnSettings,
    machine: Machine,
    pool: ViewPool,
    listener: Listener,
) -> Book:
    """See to the trunk of every view; images that cannot be read are left out."""
    known = opened.attributor
    names = list(task.classes)
    new = [(_sample(p), names.index(n)) for n, paths in task.classes.items() for p in paths]
    old = _file_exemplars(opened, listener)
    samples = [s for s, _ in new] + [_sample(path) for _, path in old]
    maker, trunks = open_trunks(known.extractors, samples, pool, machine.cache)
    views = (CENTRE, *range(settings.draws))
    held = _held_out(new, settings)
    draws = [
        (i, number)
        for i in range(len(samples))
        for number in (views if i < len(new) and not held[i] else (CENTRE,))
    ]
    bad = trunks.prepare(draws, lambda done, total: listener.progress("trunk", done, total))
    for i in sorted(bad)[:5]:
        listener.note(f"left out: {samples[i].path}: {bad[i]}")
    if len(bad) > 5:
        listener.note(f"left out: {len(bad) - 5} more")
    draws = [draw for draw in draws if draw[0] not in bad]
    labels = [len(known.classes) + c for _, c in new] + [e.label for e, _ in old]
    held += [e.is_held_out for e, _ in old]
    kept = [] if known.rows is None else list(known.exemplars)
    lesson = Lesson(
        maker,
        trunks,
        draws,
        np.array([labels[i] for i, _ in draws] + [e.label for e in kept], dtype=np.int_),
        np.array([held[i] for i, _ in draws] + [e.is_held_out for e in kept], dtype=np.bool_),
        np.array([n == CENTRE for _, n in draws] + [True] * len(kept), dtype=np.bool_),
        known.rows,
    )
    of_class = [names[c] for i, (_, c) in enumerate(new) if i not in bad]
    for name in names:
        if of_class.count(name) < LEAST:
            raise DatasetError(
                f"{task.name}: {of_class.count(name)} images of {name!r} can be read; "
                f"at least {LEAST} are needed"
            )
    return Book(lesson, samples, of_class, [*(e for e, _ in old), *kept], len(new), len(kept))


def _file_exemplars(opened: Opened, listener: Listener) -> list[tuple[Exemplar, Path]]:
    """Exemplars that are files, and where they are; those that changed are left out."""
    known, mode = opened.attributor, opened.manifest.memory.mode
    if known.rows is not None or mode not in ("paths", "copies"):
        return []
    found, lost = [], 0
    for exemplar in known.exemplars:
        path = locate(exemplar, opened.folder, is_copied=mode == "copies")
        if is_unchanged(path, exemplar.sha256):
            found.append((exemplar, path))
        else:
            lost += 1
    if lost:
        listener.note(f"memory: {lost} of {len(known.exemplars)} exemplars are gone or changed")
    return found


def _sample(path: Path) -> Sample:
    return Sample(path=path, key=path.absolute().as_posix(), label=0, source="")


def _held_out(new: Sequence[tuple[Sample, int]], settings: LearnSettings) -> list[bool]:
    """Which new images the adapters never see: a share of each class, chosen by a hash."""
    held = [False] * len(new)
    for label in {c for _, c in new}:
        own = sorted(
            (i for i, (_, c) in enumerate(new) if c == label),
            key=lambda i: rank(new[i][0].path.name, settings.seed),
        )
        count = max(round(settings.held_out * len(own)), settings.held_out > 0 and len(own) > 4)
        for i in own[:count]:
            held[i] = True
    return held


def open_trunks(
    extractors: Extractors, samples: Sequence[Sample], pool: ViewPool, cache: CacheConfig
) -> tuple[Maker, Trunks]:
    """What gives the trunk of any view: the cache of `train`, or computed anew."""
    maker = extractors.maker(pool.recipe.preprocess, cache)
    plain = PlainTrunks(maker, pool, samples)
    if not cache.enabled or not isinstance(maker, TrunkMaker):
        return maker, plain
    folder = cache.folder or weights.cache_folder() / "trunk"
    return maker, CachedTrunks(plain, folder, cache.max_gb, extractors.sha256())
