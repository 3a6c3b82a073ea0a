"""Training of the newest extractor, as the attributor's preset has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute import published
from fakescan.attribute.adapt import Place, Report, adapt
from fakescan.attribute.adapters import Extractors
from fakescan.attribute.design import PAPER
from fakescan.attribute.extractors import SharedTrunk
from fakescan.attribute.lesson import Lesson
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear


def is_published(extractors: Extractors) -> bool:
    """Whether everything is done as the paper does it: the trained classifier stays as it is."""
    return extractors.design.preset == PAPER


def train(
    extractors: Extractors,
    lesson: Lesson,
    before: NDArray[np.float32],
    place: Place,
    settings: LearnSettings,
    report: Report,
) -> Linear:
    """Train the last extractor in place; see `adapt` and `published.train`."""
    if is_published(extractors):
        return published.train(extractors, lesson, place, settings, report)
    assert isinstance(extractors, SharedTrunk)
    return adapt(extractors, lesson, before, place, settings, report)
