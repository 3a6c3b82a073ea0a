"""What is known, in memory: extractors, classifier, classes, exemplars; and one more task.

    features E(x) of old extractors -> train the new one -> fit the classifier on its own views
    -> temperature and threshold on held-out views -> fit on all views -> choose exemplars

Shapes: n views, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.attribute.adapt import Place, Report, features_of
from fakescan.attribute.adapters import Extractors
from fakescan.attribute.answer import ClassRecord, Rules, is_real, probabilities
from fakescan.attribute.exemplars import Candidates, Exemplar, choose
from fakescan.attribute.fitted import temperature, unknown_below
from fakescan.attribute.lesson import Lesson, merged, rows_at
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear, fit, grow
from fakescan.attribute.training import is_published, train
from fakescan.train.trunk import Rows


@dataclass(slots=True)
class Attributor:
    """All that answers depend on, and what the next task needs."""

    extractors: Extractors
    classes: tuple[ClassRecord, ...] = ()
    linear: Linear | None = None
    rules: Rules = field(default_factory=Rules)
    exemplars: tuple[Exemplar, ...] = ()
    rows: Rows | None = None
    """Trunk rows of the exemplars, in their order, with memory mode `tokens`."""

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, F) -> (n, C)."""
        if self.linear is None:
            raise ValueError("no task was learnt")
        return self.linear.logits(features)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a task added."""

    attributor: Attributor
    kept: tuple[int, ...]
    """Which views became the exemplars, in their order."""
    features: NDArray[np.float32]
    """E of every view of the lesson, (n, F)."""


def advance(
    known: Attributor,
    lesson: Lesson,
    classes: Sequence[ClassRecord],
    settings: LearnSettings,
    report: Report,
    describe: Callable[[int], Exemplar],
) -> Learnt:
    """Learn one more task; what was known is left as it is.

    Args:
        known: so far.
        lesson: new images labelled on from the known classes, and exemplars.
        classes: the new ones.
        settings: how.
        report: called after every training step.
        describe: view number -> the exemplar that it would be.
    """
    start = known.linear if is_published(known.extractors) else None
    place = Place(len(known.classes), len(classes), start)
    before = lesson.before
    if before is None:
        before = old_features(known.extractors, lesson)
    torch.manual_seed(settings.seed)
    extractors = known.extractors.extended()
    trained = None
    if settings.epochs:
        trained = train(extractors, lesson, before, place, settings, report)
    newest = len(extractors.tasks) - 1
    features = np.concatenate([before, features_of(extractors, lesson, [newest])], axis=1)
    everything = (*known.classes, *classes)
    linear = trained if is_published(extractors) else None
    linear, rules = classify(known, features, lesson, everything, settings, linear)
    views = kept_views(lesson, features, place, settings)
    learnt = Attributor(extractors, everything, linear, rules, tuple(describe(i) for i in views))
    return Learnt(learnt, views, features)


def kept_views(
    lesson: Lesson, features: NDArray[np.floating], place: Place, settings: LearnSettings
) -> tuple[int, ...]:
    """Which views become exemplars, class by class, best first."""
    plain = np.flatnonzero(lesson.is_plain)
    is_old = lesson.labels[plain] < place.old
    order = np.concatenate([plain[is_old], plain[~is_old]])
    candidates = Candidates(
        lesson.labels[order], lesson.held_out[order], features[order], int(is_old.sum())
    )
    kept = choose(candidates, place.classes, settings.kept, settings.held_out)
    return tuple(int(order[i]) for i in kept)


def old_features(extractors: Extractors, lesson: Lesson) -> NDArray[np.float32]:
    """E of every view under the extractors so far, (n, F)."""
    parts = [extractors.all(trunk).cpu().numpy() for trunk in lesson.stream(lesson.batches())]
    return np.concatenate(parts)


def classify(
    known: Attributor,
    features: NDArray[np.float32],
    lesson: Lesson,
    classes: Sequence[ClassRecord],
    settings: LearnSettings,
    trained: Linear | None = None,
) -> tuple[Linear, Rules]:
    """The classifier of all classes, and how its logits are read; a trained one is not fitted."""
    seen = ~lesson.held_out
    judged = trained or _fitted(
        known, features[seen], lesson.labels[seen], len(classes), settings.l2
    )
    logits = judged.logits(features[lesson.held_out])
    labels = lesson.labels[lesson.held_out]
    heat = temperature(logits, labels)
    rules = Rules(
        temperature=heat,
        unknown_below=unknown_below(
            probabilities(logits, heat), labels, is_real(classes), settings.false_unknown
        ),
        false_unknown=settings.false_unknown,
    )
    return trained or _fitted(known, features, lesson.labels, len(classes), settings.l2), rules


def _fitted(
    known: Attributor,
    features: NDArray[np.float32],
    labels: NDArray[np.int_],
    classes: int,
    l2: float,
) -> Linear:
    """Around what was known; where nothing is left of old classes, beside what was known."""
    if known.linear is None:
        return fit(features, labels, classes, l2)
    grown, count = grow(known.linear, classes, features.shape[1]), len(known.classes)
    if (labels < count).any():
        return fit(features, labels, classes, l2, around=grown)
    new = fit(features, labels, classes - count, l2, fixed=grown.logits(features)[:, :count])
    return Linear(
        np.concatenate([grown.weight[:count], new.weight]),
        np.concatenate([grown.bias[:count], new.bias]),
    )


def kept_rows(lesson: Lesson, views: Sequence[int]) -> Rows:
    """Trunk rows of the exemplars, in their order, as a memory stores them."""
    files = [i for i in views if i < len(lesson.draws)]
    stored = [i for i in views if i >= len(lesson.draws)]
    parts = []
    if stored:
        parts.append(rows_at(lesson.stored, [i - len(lesson.draws) for i in stored]))
    if files:
        parts.append(lesson.read_rows([lesson.draws[i] for i in files]))
    at = {view: place for place, view in enumerate([*stored, *files])}
    return rows_at(merged(parts), [at[i] for i in views])
