"""Images -> what is said of each; decoded as in a scan, a few ahead. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.answer import Attribution, ClassRecord, Rules, read
from fakescan.errors import ConfigError, ImageError
from fakescan.image import Preprocess
from fakescan.machine import usable_cores
from fakescan.scan.ahead import decode_ahead
from fakescan.scan.crop import Crop
from fakescan.scan.decode import Children
from fakescan.scan.walk import check, walk
from fakescan.scan.worker import Job


class Namer(Protocol):
    """What knows generators: a bundle in torch, or an exported file."""

    classes: tuple[ClassRecord, ...]
    rules: Rules
    preprocess: Preprocess

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(B, S, S, 3) RGB crops -> (B, C)."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """One file: what is said of it, or the reason why nothing is."""

    path: str
    attribution: Attribution | None
    error: str = ""


def rules_at(rules: Rules, threshold: str) -> Rules:
    """How logits are read with another threshold for `unknown`.

    Args:
        rules: fitted ones.
        threshold: `auto`, `off`, or a score in [0, 1].

    Raises:
        ConfigError: neither.
    """
    if threshold == "auto":
        return rules
    try:
        value = 0.0 if threshold == "off" else float(threshold)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"--unknown-threshold {threshold}: auto, off, or a score from 0 to 1")
    return replace(rules, unknown_below=value)


def predict(
    targets: Sequence[str], namer: Namer, rules: Rules, workers: int | None = None
) -> Iterator[Named]:
    """Yield what is said of every image among files and folders, in order.

    Raises:
        ConfigError: a target that does not exist.
    """
    check(targets)
    return _predict(targets, namer, rules, workers or usable_cores())


def _predict(targets: Sequence[str], namer: Namer, rules: Rules, workers: int) -> Iterator[Named]:
    paths = walk(targets, Counter())
    with Children(Job(preprocess=replace(namer.preprocess, crops=1))) as children:
        decoded = decode_ahead(paths, children.decode, workers=workers, ahead=2 * workers + 1)
        with closing(decoded):
            for found in decoded:
                yield _named(found.item, found.pixels, found.error, namer, rules)


def _named(
    path: str, crop: Crop | None, error: ImageError | None, namer: Namer, rules: Rules
) -> Named:
    if crop is None:
        return Named(path, None, str(error))
    logits = namer.logits(crop.pixels[:1])
    if not np.isfinite(logits).all():
        return Named(path, None, "the attributor gave no numbers for it")
    return Named(path, read(logits, namer.classes, rules)[0])
