"""Folders of images -> one more task in a bundle.

The old state is used until the new one is whole on the disk; whoever is stopped keeps the old one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from fakescan.attribute import bundle
from fakescan.attribute.answer import UNKNOWN
from fakescan.attribute.attributor import Attributor, Learnt, advance, kept_rows
from fakescan.attribute.book import REAL, Machine, NewTask, open_book
from fakescan.attribute.bundle import Manifest, TaskRecord
from fakescan.attribute.design import PAPER
from fakescan.attribute.lesson import Lesson
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.store import Change, keep_copies, open_bundle, save_adapter, save_state
from fakescan.errors import ConfigError
from fakescan.train.prepare import Listener
from fakescan.train.views import ViewPool, ViewRecipe


def learn(
    folder: Path, task: NewTask, settings: LearnSettings, machine: Machine, listener: Listener
) -> Manifest:
    """Learn one task and make it part of the bundle.

    Raises:
        ConfigError: a name that is taken, a first task without reals, or no room.
        DatasetError: a class of which fewer than 2 images can be read.
        AttributorError: the bundle cannot be used.
    """
    with bundle.changing(folder):
        started = time.perf_counter()
        _check(bundle.read_manifest(folder), task, settings)
        opened = open_bundle(
            folder, weights=machine.weights, device=machine.device, with_memory=True
        )
        recipe = ViewRecipe(opened.manifest.preprocess, settings.augmentation, settings.seed)
        with ViewPool(recipe, machine.workers) as pool:
            book = open_book(opened, task, settings, machine, pool, listener)
            learnt = advance(
                opened.attributor,
                book.lesson,
                book.classes(task),
                settings,
                lambda done, total: listener.progress("learn", done, total),
                book.exemplar,
            )
            attributor = _with_memory(folder, learnt, book.lesson, settings)
        record = TaskRecord(
            name=task.name,
            adapter=save_adapter(folder, opened.manifest, attributor.extractors),
            images=book.new,
            exemplars=len(book.samples) - book.new + book.stored,
            seconds=round(time.perf_counter() - started, 1),
            epochs=settings.epochs,
            seed=settings.seed,
        )
        change = Change((*opened.manifest.tasks, record), settings.kept, settings.memory_mode)
        return save_state(opened, attributor, change)


def _check(manifest: Manifest, task: NewTask, settings: LearnSettings) -> None:
    if not task.name or any(task.name == known.name for known in manifest.tasks):
        raise ConfigError(f"--task {task.name!r}: taken; choose another name for the task")
    known = {c.name: c.task for c in manifest.classes if c.kind == "fake"}
    for name in task.generators:
        if name in (UNKNOWN, REAL, ""):
            raise ConfigError(f"--fake {name}=...: a generator cannot be called {name!r}")
        if name in known:
            raise ConfigError(f"--fake {name}=...: known already, from task {known[name]!r}")
    if not task.generators:
        raise ConfigError("--fake: name at least one folder of a generator's images")
    if not manifest.tasks and not task.reals:
        raise ConfigError("--real: the first task needs real images, too")
    _check_memory(manifest, settings)


def _check_memory(manifest: Manifest, settings: LearnSettings) -> None:
    if manifest.design.preset == PAPER and settings.memory_mode == "tokens":
        raise ConfigError(
            f"--memory-mode tokens: preset {PAPER} crops exemplars anew in every epoch and needs "
            "their files; use paths, copies or none"
        )
    if manifest.tasks and manifest.memory.mode != settings.memory_mode:
        raise ConfigError(
            f"--memory-mode {settings.memory_mode}: this attributor keeps its exemplars as "
            f"{manifest.memory.mode!r}, which cannot be changed"
        )


def _with_memory(
    folder: Path, learnt: Learnt, lesson: Lesson, settings: LearnSettings
) -> Attributor:
    attributor = learnt.attributor
    if settings.memory_mode == "tokens" and learnt.kept:
        return replace(attributor, rows=kept_rows(lesson, learnt.kept))
    if settings.memory_mode == "copies":
        return replace(attributor, exemplars=keep_copies(folder, attributor.exemplars))
    return attributor
